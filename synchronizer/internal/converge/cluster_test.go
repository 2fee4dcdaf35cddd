package converge

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

func (w *world) Judge(label string, judge *health.Judge) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judges[label] = judge
}

func (w *world) Need(label string, kinds []v1alpha1.ObjectKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.needs[label] = kinds
}

func (w *world) Release(string) {}

func (w *world) Foreign(label string, is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.foreign == nil {
		w.foreign = map[string]bool{}
	}
	w.foreign[label] = is
}

func (w *world) Synced(label string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.unsynced && label != w.listing
}

func (w *world) Failures(string) []error { return nil }

func (w *world) Unlisted(label string) []live.Unlisted {
	if w.Synced(label) {
		return nil
	}
	return []live.Unlisted{{Kind: schema.GroupKind{Kind: "ConfigMap"}, Refused: w.refused}}
}

func (w *world) Get(k object.Key) (live.Record, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.objects[k]
	return r, ok
}

func (w *world) Owned(label string) []live.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plans++
	var owned []live.Record
	for _, r := range w.objects {
		if r.Sync == label {
			owned = append(owned, r)
		}
	}
	return owned
}

func (w *world) Planned(label string) map[object.Key]plan.Live { return live.Planned(w.Owned(label)) }

func (w *world) OwnedKinds(label string) []v1alpha1.ObjectKind {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kinds []v1alpha1.ObjectKind
	for _, r := range w.objects {
		if r.Sync == label && r.Owned() {
			kinds = append(kinds, v1alpha1.ObjectKind{Group: r.GVK.Group, Version: r.GVK.Version, Kind: r.GVK.Kind, Namespaced: r.Key.Namespace != ""})
		}
	}
	return kinds
}

func (w *world) Labelled(kind v1alpha1.ObjectKind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(slices.Collect(maps.Values(w.objects)), func(r live.Record) bool {
		return r.GVK.Group == kind.Group && r.GVK.Kind == kind.Kind
	})
}

func (w *world) Observe(*unstructured.Unstructured) {}

func (w *world) Images(string) []live.Image { return nil }

// records is the world's inventory.
type records struct{ *world }

func (r records) Load(_ context.Context, s *v1alpha1.Sync) (map[object.Key]inventory.Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Collect(maps.All(r.inventory[s.UID])), nil
}

func (r records) Save(_ context.Context, s *v1alpha1.Sync, entries map[object.Key]inventory.Entry) (inventory.Kept, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.saved = append(r.saved, slices.Clone(r.said))
	if r.saveErr != nil {
		return inventory.Kept{}, r.saveErr
	}
	r.inventory[s.UID] = maps.Clone(entries)
	if r.inline {
		sum := sha256.Sum256(fmt.Append(nil, entries))
		return inventory.Kept{Inline: sum[:]}, nil
	}
	return inventory.Kept{Shards: 1}, nil
}

func (r records) Forget(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgot = append(r.forgot, string(uid))
}

// Run applies and removes; unless there is another one, the answer to an apply has no managed fields, so that baselines are zero
// until somebody touches one.
func (w *world) Run(ctx context.Context, _ apply.Identity, label string, steps []plan.Step, done func(apply.Result)) error {
	for _, step := range steps {
		if w.hold != nil && (w.stuck == nil || w.stuck[label]) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-w.hold:
			}
		}
		done(w.step(label, step))
	}
	return ctx.Err()
}

func (w *world) step(label string, step plan.Step) apply.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := step.Key.Name
	if err := w.fail[name]; err != nil {
		w.did = append(w.did, "fail "+name)
		return apply.Result{Step: step, Err: err}
	}
	if step.Action == plan.Delete {
		w.did = append(w.did, "remove "+name)
		if w.deaf {
			return apply.Result{Step: step}
		}
		if r := w.objects[step.Key]; w.holds[name] {
			r.Deleting, r.Health = true, health.Status{State: health.Terminating, Message: "held by the finalizer example.com/hold"}
			w.objects[step.Key] = r
			return apply.Result{Step: step}
		}
		delete(w.objects, step.Key)
		return apply.Result{Step: step}
	}
	w.did = append(w.did, "apply "+name)
	uid := types.UID("uid of " + name)
	result := apply.Result{Step: step, Object: &unstructured.Unstructured{Object: map[string]any{}}}
	if answer := w.answers[name]; answer != nil {
		result.Object = answer.DeepCopy()
	}
	result.Object.SetUID(uid)
	digest, _ := baseline.Of(result.Object, v1alpha1.FieldManager)
	w.objects[step.Key] = live.Record{
		Key: step.Key, GVK: step.Desired.GVK, UID: uid, Sync: label, OwnerNamesItself: true, Ours: true, Baseline: digest, Health: w.health,
	}
	if step.Explain {
		result.Before = w.read[name]
	}
	return result
}
