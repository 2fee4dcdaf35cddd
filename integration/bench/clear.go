package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

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

// settled waits until the controllers have rolled out the Deployments of a namespace, as a Sync does before it is healthy.
func (b *bench) settled(ctx context.Context, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	waiting := map[string]bool{}
	look := func(d *appsv1.Deployment) {
		if delete(waiting, d.Name); !rolledOut(d) {
			waiting[d.Name] = true
		}
	}
	all := cache.NewListWatchFromClient(b.world.Client.AppsV1().RESTClient(), "deployments", namespace, fields.Everything())
	_, err := watchtools.UntilWithSync(ctx, all, &appsv1.Deployment{}, func(listed cache.Store) (bool, error) {
		for _, item := range listed.List() {
			if d, ok := item.(*appsv1.Deployment); ok {
				look(d)
			}
		}
		return len(waiting) == 0, nil
	}, func(event watch.Event) (bool, error) {
		if d, ok := event.Object.(*appsv1.Deployment); ok {
			look(d)
		}
		return len(waiting) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("controllers in namespace %s: %w", namespace, err)
	}
	return nil
}

// newReplicaSetAvailable is how the Deployment controller says that a rollout is complete.
const newReplicaSetAvailable = "NewReplicaSetAvailable"

// rolledOut reports whether the controller has completed the rollout of a Deployment.
func rolledOut(d *appsv1.Deployment) bool {
	complete := slices.ContainsFunc(d.Status.Conditions, func(c appsv1.DeploymentCondition) bool {
		return c.Type == appsv1.DeploymentProgressing && c.Reason == newReplicaSetAvailable
	})
	return complete && d.Status.ObservedGeneration >= d.Generation
}

func poll(ctx context.Context, timeout time.Duration, done wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextTimeout(ctx, pollEvery, timeout, true, done)
}
