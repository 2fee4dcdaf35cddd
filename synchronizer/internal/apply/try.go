package apply

import (
	"context"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// Trial is what an apply of an object would come to. Nothing was written.
type Trial struct {
	Step plan.Step
	// Before is the object as it is; nil when there is none.
	Before *unstructured.Unstructured
	// After is the object as it would be. It is nil where there is an error, and where Recreate says that the object would be
	// deleted and made anew.
	After *unstructured.Unstructured
	// Adopts says that the object is there and does not belong to the Sync yet.
	Adopts bool
	// Recreates says that the object refuses a change in place and asks to be made anew then.
	Recreates bool
	// Warnings are the API server's.
	Warnings []string
	// Err is an *Error that says why the apply would fail and what to do; nil when it would not.
	Err error
}

// Try finds out what the apply of a step would come to: it sends the same request as the same account, as a dry run, which
// goes through admission and RBAC as the apply would. The object is read before. Removals are not tried.
//
// What an apply does in two writes cannot be tried in a row, since the second would not see the first. What the first changes is
// worked out here: fields that are left to others are sent with the values that they have, and those that a take-over would
// remove are removed in a dry run of their own.
func (a *Applier) Try(ctx context.Context, as Identity, label string, step plan.Step) Trial {
	ctx, book := withNotebook(ctx)
	ctx, cancel := context.WithTimeout(ctx, a.config.Timeout)
	defer cancel()
	trial := Trial{Step: step}
	client, err := a.clients.as(as)
	if err != nil {
		trial.Err = err
		return trial
	}
	r := &runner{Applier: a, client: client, who: as, label: label, failed: newContainment()}
	t, err := r.target(ctx, step)
	if err == nil {
		t.dryRun = []string{metav1.DryRunAll}
		err = r.try(ctx, t, &trial)
		for attempt := 1; isConflict(err) && attempt < adoptions; attempt++ {
			err = r.try(ctx, t, &trial)
		}
	}
	if err != nil {
		trial.After, trial.Err = nil, classify(err, t)
	}
	trial.Warnings = book.all()
	return trial
}

// try fills in a trial from one look at the object. A conflict says that the object changed meanwhile.
func (r *runner) try(ctx context.Context, t *target, trial *Trial) error {
	if t.Desired == nil || t.Desired.Object == nil {
		return t.failed(Unexpected, "the rendered object was dropped before it was tried", nil)
	}
	trial.Before, trial.Adopts = nil, false
	live, err := t.client.Get(ctx, t.Key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !isMissingKind(err) {
		trial.After, err = t.patch(ctx, precondition{version: neverExisted})
		return err
	}
	if err != nil {
		return err
	}
	trial.Before = live
	if err := r.mayWrite(t, live); err != nil {
		return err
	}
	trial.Adopts = ownerOf(live, t.Key.ID()) != t.label
	if t.Desired.Policy.Apply == v1alpha1.ApplyCreateOnly {
		trial.After, trial.Adopts = live, false // what is there is left as it is
		return nil
	}
	trial.After, err = t.tryOver(ctx, live, trial.Adopts)
	if err != nil && t.Desired.Policy.Apply == v1alpha1.ApplyRecreate && isImmutable(err) {
		trial.Recreates = true
		return nil
	}
	return err
}

// tryOver tries to apply to an object that is there.
func (t *target) tryOver(ctx context.Context, live *unstructured.Unstructured, adopts bool) (*unstructured.Unstructured, error) {
	fields := without(t.Desired.Object.Object, t.Desired.Policy.Ignore)
	for _, field := range t.Desired.Policy.Ignore {
		fields = withValue(fields, live.Object, field)
	}
	after, err := t.send(ctx, &unstructured.Unstructured{Object: fields}, precondition{uid: live.GetUID(), version: live.GetResourceVersion()})
	if err != nil || !adopts && t.Desired.Policy.Apply != v1alpha1.ApplyReplace {
		return after, err
	}
	left, err := leftovers(live, after, t.takes())
	if err != nil || len(left) == 0 {
		return after, err
	}
	return t.trySwept(ctx, live, cut(after, left))
}

// withValue returns fields with one of another object's, where that has it. What it shares with them is only read.
func withValue(fields, other map[string]any, field []string) map[string]any {
	value, there := other[field[0]]
	if !there {
		return fields
	}
	out := maps.Clone(fields)
	if len(field) == 1 {
		out[field[0]] = value
		return out
	}
	inner, isMap := value.(map[string]any)
	if !isMap {
		return fields
	}
	under, _ := fields[field[0]].(map[string]any)
	if under == nil {
		under = map[string]any{}
	}
	if under = withValue(under, inner, field[1:]); len(under) > 0 {
		out[field[0]] = under
	}
	return out
}

// trySwept tries to write an object as it would be after a take-over, so that the API server fills in what it does for fields
// that are gone.
func (t *target) trySwept(ctx context.Context, live, after *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	operations := []patchOperation{{"test", "/metadata/uid", live.GetUID()}}
	for _, name := range []string{"labels", "annotations", "finalizers", "ownerReferences"} {
		operations = append(operations, moved("/metadata/", name, fieldsOfMap(live.Object, "metadata"), fieldsOfMap(after.Object, "metadata"))...)
	}
	names := maps.Clone(live.Object)
	maps.Copy(names, after.Object)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !slices.Contains([]string{"apiVersion", "kind", "metadata", "status"}, name) {
			operations = append(operations, moved("/", name, live.Object, after.Object)...)
		}
	}
	return t.patchJSON(ctx, operations)
}

func fieldsOfMap(fields map[string]any, name string) map[string]any {
	inner, _ := fields[name].(map[string]any)
	return inner
}

// moved is how a field gets from one state to another.
func moved(at, name string, from, to map[string]any) []patchOperation {
	path := at + escapePointer(name)
	if value, stays := to[name]; stays {
		return []patchOperation{{"add", path, value}}
	}
	if _, there := from[name]; there {
		return []patchOperation{{Op: "remove", Path: path}}
	}
	return nil
}
