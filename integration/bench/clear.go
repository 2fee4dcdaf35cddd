package bench

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

const (
	// pollEvery is how often the API server is asked whether it is done, outside of what is measured.
	pollEvery = 500 * time.Millisecond
	// clearTimeout bounds the removal of what one measurement made, settleTimeout what controllers do after it.
	clearTimeout, settleTimeout = 10 * time.Minute, 5 * time.Minute
)

// clear removes what a pair made, so that the next one finds the API server and the synchronizer as this one did.
func (b *bench) clear(ctx context.Context, i int) error {
	if err := b.world.Client.CoreV1().Namespaces().Delete(ctx, bareNamespace(i), metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := b.world.Dynamic.Resource(v1alpha1.GroupVersionResource).Namespace(b.site.Namespace).Delete(ctx, loadSync(i), metav1.DeleteOptions{}); err != nil {
		return err
	}
	err := poll(ctx, clearTimeout, func(ctx context.Context) (bool, error) {
		_, sync := b.world.Dynamic.Resource(v1alpha1.GroupVersionResource).Namespace(b.site.Namespace).Get(ctx, loadSync(i), metav1.GetOptions{})
		_, namespace := b.world.Client.CoreV1().Namespaces().Get(ctx, bareNamespace(i), metav1.GetOptions{})
		return apierrors.IsNotFound(sync) && apierrors.IsNotFound(namespace), nil
	})
	if err != nil {
		return fmt.Errorf("clear pair %d: %w", i, err)
	}
	return nil
}

// settled waits until the controllers have done what the Deployments of a namespace ask for.
func (b *bench) settled(ctx context.Context, namespace string) error {
	err := poll(ctx, settleTimeout, func(ctx context.Context) (bool, error) {
		list, err := b.world.Client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return false, err
		}
		for i := range list.Items {
			if list.Items[i].Status.ObservedGeneration < list.Items[i].Generation {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("controllers in namespace %s: %w", namespace, err)
	}
	return nil
}

func poll(ctx context.Context, timeout time.Duration, done wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextTimeout(ctx, pollEvery, timeout, true, done)
}
