package apply

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
)

// goneEvery is how often is looked whether a deleted object is gone. The account of a Sync may get its objects, and need not be
// allowed to watch them.
const goneEvery = 100 * time.Millisecond

// recreate deletes an object that refuses a change in place, waits until it is gone, and makes it anew. What does not go in
// time is tried again by the loop: it is on its way out by then.
func (r *runner) recreate(ctx context.Context, t *target) (*unstructured.Unstructured, error) {
	live, err := t.client.Get(ctx, t.Key.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if err == nil {
		if err := t.delete(ctx, live.GetUID()); err != nil {
			return nil, err
		}
		err = wait.PollUntilContextCancel(ctx, goneEvery, true, func(ctx context.Context) (bool, error) {
			found, err := t.client.Get(ctx, t.Key.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return true, nil
			}
			return err == nil && found.GetUID() != live.GetUID(), err
		})
		if err != nil {
			return nil, t.failed(Conflict, "is being deleted to be made anew, and has not gone yet; a finalizer may hold it", err)
		}
	}
	return t.patch(ctx, precondition{version: neverExisted})
}

// isImmutable reports whether the API server refused a change because a field cannot be changed in place.
func isImmutable(err error) bool {
	if !apierrors.IsInvalid(err) {
		return false
	}
	for _, cause := range causes(err) {
		if immutable.MatchString(cause.Message) {
			return true
		}
	}
	return false
}
