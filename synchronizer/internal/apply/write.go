package apply

import (
	"context"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// adoptions bounds how often an object that changes all the time is read and
// tried again.
const adoptions = 5

// target is an object in the cluster, as a Sync may write it.
type target struct {
	plan.Step
	resource   schema.GroupVersionResource
	namespaced bool
	client     dynamic.ResourceInterface
	who        Identity
	label      string
	dryRun     []string // what requests carry as dryRun; nil to write
}

// target finds out how to reach the object of a step. It is never nil.
func (r *runner) target(ctx context.Context, step plan.Step) (*target, error) {
	t := &target{Step: step, who: r.who, label: r.label}
	kind := step.GVK
	if step.Desired != nil {
		kind = step.Desired.GVK
	}
	var err error
	t.resource, t.namespaced, err = r.deps.Kinds.Resource(ctx, kind)
	if fault.Is(err, fault.NotFound) {
		return t, t.failed(UnknownKind, err.Error(), err)
	}
	t.client = r.client.Resource(t.resource).Namespace(step.Key.Namespace)
	return t, err
}

// apply makes the object what Git says and returns it as it is then.
func (r *runner) apply(ctx context.Context, t *target) (*unstructured.Unstructured, error) {
	if t.Desired == nil || t.Desired.Object == nil {
		return nil, t.failed(Unexpected, "the rendered object was dropped before it was applied", nil)
	}
	first := precondition{version: neverExisted}
	if t.Exists {
		first = precondition{}
	}
	if t.Exists && (t.Desired.Policy.Apply == v1alpha1.ApplyReplace || len(t.Desired.Policy.Ignore) > 0) {
		return r.adoptTill(ctx, t) // who manages what is known by a look only
	}
	written, err := t.patch(ctx, first)
	if isConflict(err) {
		written, err = r.adoptTill(ctx, t)
	}
	if err != nil && t.Desired.Policy.Apply == v1alpha1.ApplyRecreate && isImmutable(err) {
		return r.recreate(ctx, t)
	}
	return written, err
}

// adoptTill adopts an object that somebody else may be changing.
func (r *runner) adoptTill(ctx context.Context, t *target) (written *unstructured.Unstructured, err error) {
	written, err = r.adopt(ctx, t)
	for attempt := 1; isConflict(err) && attempt < adoptions; attempt++ {
		written, err = r.adopt(ctx, t)
	}
	return written, err
}

// adopt applies to an object that is there already, unless it is another
// Sync's.
func (r *runner) adopt(ctx context.Context, t *target) (*unstructured.Unstructured, error) {
	live, err := t.client.Get(ctx, t.Key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return t.patch(ctx, precondition{version: neverExisted})
	}
	if err != nil {
		return nil, err
	}
	if err := r.mayWrite(t, live); err != nil {
		return nil, err
	}
	if t.Desired.Policy.Apply == v1alpha1.ApplyCreateOnly {
		return live, nil
	}
	if ownerOf(live, t.Key.ID()) != t.label || t.Desired.Policy.Apply == v1alpha1.ApplyReplace {
		live, err = t.takeOver(ctx, live)
	}
	if err == nil && len(t.Desired.Policy.Ignore) > 0 {
		live, err = t.leave(ctx, live)
	}
	if err != nil {
		return nil, err
	}
	return t.patch(ctx, precondition{uid: live.GetUID(), version: live.GetResourceVersion()})
}

// mayWrite returns why an object that is there is left alone; nil when it may be taken.
func (r *runner) mayWrite(t *target, live *unstructured.Unstructured) error {
	if owner := ownerOf(live, t.Key.ID()); owner != "" && owner != r.label && r.deps.exists(owner) {
		return t.failed(Owned, fmt.Sprintf(
			"belongs to the Sync %s; remove it from one of the two, or take the label %s off the object to hand it over", owner, v1alpha1.LabelSync), nil)
	}
	if live.GetDeletionTimestamp() != nil {
		return t.failed(Conflict, "is being deleted, and is applied once it is gone", nil)
	}
	return nil
}

// ownerOf returns the label of the Sync that owns an object; empty for none.
func ownerOf(live *unstructured.Unstructured, id string) string {
	if _, applied := baseline.Of(live, v1alpha1.FieldManager); !applied || live.GetAnnotations()[v1alpha1.AnnotationOwner] != id {
		return ""
	}
	return live.GetLabels()[v1alpha1.LabelSync]
}

func (t *target) patch(ctx context.Context, only precondition) (*unstructured.Unstructured, error) {
	desired := t.Desired.Object
	if only.version != neverExisted {
		desired = &unstructured.Unstructured{Object: without(desired.Object, t.Desired.Policy.Ignore)}
	}
	return t.send(ctx, desired, only)
}

// send applies an object.
func (t *target) send(ctx context.Context, desired *unstructured.Unstructured, only precondition) (*unstructured.Unstructured, error) {
	data, err := body(desired, t.Key, t.label, only)
	if err != nil {
		return nil, err
	}
	force := true
	return t.client.Patch(ctx, t.Key.Name, types.ApplyYAMLPatchType, data, metav1.PatchOptions{
		FieldManager: v1alpha1.FieldManager, Force: &force, FieldValidation: metav1.FieldValidationStrict, DryRun: t.dryRun,
	})
}

// remove deletes the very object that the step means. One that is gone, or was
// replaced by another of its name, needs nothing more.
func (t *target) remove(ctx context.Context) error {
	return t.delete(ctx, t.UID)
}

func (t *target) delete(ctx context.Context, uid types.UID) error {
	background := metav1.DeletePropagationBackground
	err := t.client.Delete(ctx, t.Key.Name, metav1.DeleteOptions{
		PropagationPolicy: &background,
		Preconditions:     metav1.NewUIDPreconditions(string(uid)),
	})
	if apierrors.IsNotFound(err) && !isMissingKind(err) || isConflict(err) {
		return nil
	}
	return err
}

// isConflict reports whether a write met another state than it was meant for.
func isConflict(err error) bool {
	if apierrors.IsConflict(err) {
		return true
	}
	for _, cause := range causes(err) {
		if cause.Field == "metadata.uid" && apierrors.ReasonForError(err) == metav1.StatusReasonInvalid {
			return true // how an update of an object with another uid is refused
		}
	}
	return false
}

// isMissingKind reports whether the API server has nothing under a path, as
// opposed to no object of a name.
func isMissingKind(err error) bool {
	status, ok := statusOf(err)
	return ok && status.Code == http.StatusNotFound && (status.Details == nil || status.Details.Name == "")
}
