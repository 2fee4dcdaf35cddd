package converge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/compare"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/preview"
)

// others are the world's objects that are nobody's: what a Sync in mode observe finds.
type others map[object.Key]*unstructured.Unstructured

// previewer tries applies against the world.
func (w *world) previewer() Previewer {
	return preview.New(preview.Deps{
		Live: w, Applier: w, Concurrency: 1, Exists: func(label string) bool { return w.loop.Exists(label) },
		Load: w.Load,
	})
}

// Try tells what an apply would make of an object.
func (w *world) Try(ctx context.Context, _ apply.Identity, label string, step plan.Step) apply.Trial {
	w.mu.Lock()
	hold := w.hold
	w.mu.Unlock()
	if hold != nil {
		select {
		case <-ctx.Done():
		case <-hold:
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did = append(w.did, "try "+step.Key.Name)
	if answer := w.answers[step.Key.Name]; answer != nil {
		return apply.Trial{Step: step, Before: w.read[step.Key.Name], After: answer}
	}
	t := apply.Trial{Step: step, Err: w.fail[step.Key.Name], Before: w.found(step.Key)}
	if t.Err == nil {
		t.After = holding(step.Key, hex.EncodeToString(step.Desired.Hash[:]))
	}
	t.Adopts = t.Before != nil && w.objects[step.Key].Sync != label
	return t
}

// found is an object as it is in the cluster. The caller holds mu.
func (w *world) found(key object.Key) *unstructured.Unstructured {
	if u := w.others[key]; u != nil {
		return u
	}
	if r, ok := w.objects[key]; ok {
		return holding(key, hex.EncodeToString(r.Baseline[:]))
	}
	return nil
}

// holding is an object with a value.
func holding(key object.Key, value string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": key.Kind, "metadata": map[string]any{"name": key.Name, "namespace": key.Namespace}, "data": map[string]any{"value": value},
	}}
}

// sight is what the world's watches know of objects that are looked at.
type sight struct{ *world }

func (s sight) Look(string, []v1alpha1.ObjectKind, []object.Key) {}

func (s sight) Release(label string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seeing, label)
}

func (s sight) Judge(label string, judge *health.Judge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seeing[label] = judge
}

func (s sight) Seen(_ string, key object.Key) (live.Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.found(key)
	if u == nil || s.blind {
		return live.Record{}, false
	}
	return live.Record{Key: key, Baseline: compare.Digest(u), Health: s.health}, true
}

// other puts an object of somebody else into the cluster: with the value of Git's text, or with another; empty removes it.
func (w *world) other(name, text string) {
	w.mu.Lock()
	if w.others == nil {
		w.others = others{}
	}
	delete(w.others, key(name))
	if text != "" {
		hash := hashOfText(text)
		w.others[key(name)] = holding(key(name), hex.EncodeToString(hash[:]))
	}
	w.mu.Unlock()
	w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
	w.settle()
}

func hashOfText(text string) [32]byte { return sha256.Sum256([]byte(text)) }

func observing(s *v1alpha1.Sync) { s.Spec.Mode = v1alpha1.ModeObserve }

func applying(s *v1alpha1.Sync) { s.Spec.Mode = v1alpha1.ModeApply }

// counted is an observation's counts.
func counted(o *v1alpha1.Observation) string {
	if o == nil {
		return "none"
	}
	return fmt.Sprintf("create %d update %d adopt %d prune %d refused %d equal %d", o.Create, o.Update, o.Adopt, o.Prune, o.Refused, o.Equal)
}

func TestObserveThenApply(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.other("b", "b")
			w.other("c", "by hand")
			w.sync(observing)
			w.took()
			w.deliver(w.commit("one", "a", "b", "c"))
			same(t, "did", w.took(), []string{"try a", "try b", "try c", "status Observing"})
			same(t, "told", w.told(), []string{"Received/0", "Verified/0"})
			s := w.status()
			if got := counted(s.Observed); got != "create 1 update 0 adopt 2 prune 0 refused 0 equal 0" {
				t.Error(got)
			}
			want := []v1alpha1.Change{
				{Object: "ConfigMap/shop/a", Action: "create", Reason: "it is not there", File: "env/a.yaml", Line: 1},
				{Object: "ConfigMap/shop/b", Action: "adopt", Reason: "it is there", File: "env/b.yaml", Line: 1},
				{Object: "ConfigMap/shop/c", Action: "adopt", Reason: "it is there", Fields: []string{"data.value"}, File: "env/c.yaml", Line: 1},
			}
			if diff := cmp.Diff(want, s.Observed.Changes); diff != "" {
				t.Error(diff)
			}
			if len(s.Kinds) > 0 || s.Shards > 0 || len(w.inventory) > 0 || s.HealthySince != nil || s.Applied != nil {
				t.Errorf("it claims something: %+v", s)
			}
			w.sync(applying)
			same(t, "did in mode apply", w.took(), []string{"status InProgress", "apply a", "apply b", "apply c", "status Healthy"})
			same(t, "told in mode apply", w.told(), []string{"Applied/0", "Healthy/0"})
			if s := w.status(); s.Observed != nil || s.State != v1alpha1.StateHealthy {
				t.Errorf("%s, observed %+v", s.State, s.Observed)
			}
		})
	})
}

func TestObservingCostsNothingWhileNothingChanges(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.other("b", "b")
			w.sync(observing)
			w.deliver(w.commit("one", "a", "b"))
			w.took()
			w.pass(24 * time.Hour)
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			w.deliver(w.commit("two", "a", "b"))
			same(t, "did", w.took(), []string{})
			w.other("b", "by hand")
			same(t, "did after a change in the cluster", w.took(), []string{"try b", "status Observing"})
			w.deliver(w.commit("three", "a=2", "b"))
			same(t, "did after a change in Git", w.took(), []string{"try a", "status Observing"})
			w.other("a", "a=2")
			same(t, "did after it was made", w.took(), []string{"try a", "status Observing"})
			w.sync(func(s *v1alpha1.Sync) { s.Spec.ServiceAccountName = "other" })
			same(t, "did for another account", w.took(), []string{"try a", "try b", "status Observing"})
		})
		w.run(func() {
			same(t, "did after a restart", w.took(), []string{"try a", "try b"})
		})
	})
}

// The evidence is what the cluster has, whoever brought it.
func TestWhatIsEqualAndCurrentIsHealthy(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.other("a", "a")
			w.sync(observing)
			w.deliver(w.commit("one", "a"))
			same(t, "told", w.told(), []string{"Received/0", "Verified/0", "Healthy/0"})
			if s := w.status(); s.State != v1alpha1.StateObserving || s.HealthySince == nil || s.Objects.Current != 1 {
				t.Errorf("%+v", s)
			}
			w.other("a", "by hand")
			if s := w.status(); s.HealthySince != nil {
				t.Error("healthy although it differs")
			}
			w.deliver(w.commit("two", "a=2"))
			w.health = health.Status{State: health.InProgress, Message: "rolling"}
			w.other("a", "a=2")
			if s := w.status(); s.HealthySince != nil || s.Objects.InProgress != 1 {
				t.Errorf("healthy although it is rolling out: %+v", s)
			}
			w.health = health.Status{State: health.Current}
			w.told()
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			same(t, "told", w.told(), []string{"Healthy/0"})
			w.mu.Lock()
			w.unsynced = true
			w.mu.Unlock()
			w.sync(applying)
			if s := w.status(); s.HealthySince != nil {
				t.Error("healthy although nothing is applied yet")
			}
			w.mu.Lock()
			w.unsynced = false
			w.mu.Unlock()
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			same(t, "told in mode apply", w.told(), []string{"Applied/0", "Healthy/1"})
		})
	})
}

func TestARefusalIsLookedAtAgain(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.fail["a"] = &apply.Error{Key: key("a"), Class: apply.Denied, Message: "service account shop/tandem may not patch configmaps"}
		w.run(func() {
			w.sync(observing)
			w.deliver(w.commit("one", "a"))
			s := w.status()
			if len(s.Problems) != 1 || s.Problems[0].Message != "ConfigMap/shop/a could not be applied: service account shop/tandem may not patch configmaps." || s.Problems[0].File != "env/a.yaml" {
				t.Errorf("problems %+v", s.Problems)
			}
			if s.Observed.Refused != 1 || s.State != v1alpha1.StateObserving {
				t.Errorf("%s: %s", s.State, counted(s.Observed))
			}
			w.took()
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			same(t, "did at once", w.took(), []string{})
			w.mend("a")
			w.pass(2 * time.Second)
			same(t, "did after a while", w.took(), []string{"try a", "status Observing"})
			w.pass(24 * time.Hour)
			same(t, "did later", w.took(), []string{})
			if s := w.status(); len(s.Problems) != 0 || s.Observed.Create != 1 {
				t.Errorf("%+v", s)
			}
		})
	})
}

// A kind that cannot be listed holds nothing else up.
func TestWhatCannotBeWatchedIsNotCompared(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.unsynced = true
			w.sync(observing)
			w.deliver(w.commit("one", "a"))
			w.took()
			if o := w.status().Observed; o != nil {
				t.Errorf("observed before anything was listed: %+v", o)
			}
			w.mu.Lock()
			w.refused = errBoom
			w.mu.Unlock()
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			same(t, "did while refused", w.took(), []string{"status Observing"})
			want := []v1alpha1.Change{{Object: "ConfigMap/shop/a", Action: "refused", Reason: "waits until its kind can be watched: boom", File: "env/a.yaml", Line: 1}}
			if diff := cmp.Diff(want, w.status().Observed.Changes); diff != "" {
				t.Error(diff)
			}
			w.mu.Lock()
			w.unsynced = false
			w.mu.Unlock()
			w.pass(watchAgain)
			same(t, "did afterwards", w.took(), []string{"try a", "status Observing"})
		})
	})
}

func TestFromApplyToObserve(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.sync(func(s *v1alpha1.Sync) { observing(s); s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
			same(t, "did", w.took(), []string{"status Observing"})
			if got := counted(w.status().Observed); got != "create 0 update 0 adopt 0 prune 0 refused 0 equal 2" {
				t.Error(got)
			}
			w.touch("a", func(r *live.Record) { r.Baseline[0] = 9 })
			same(t, "did after drift", w.took(), []string{"try a", "status Observing"})
			w.touch("b", func(r *live.Record) { r.UID = "" })
			same(t, "did after a removal", w.took(), []string{"try b", "status Observing"})
			w.deliver(w.commit("two", "b"))
			if got := counted(w.status().Observed); got != "create 1 update 0 adopt 0 prune 1 refused 0 equal 0" {
				t.Error(got)
			}
			if len(w.inventory["uid-1"]) != 2 || w.objects[key("a")].Sync != v1alpha1.Label("shop", "web") || len(w.resources["web"].Finalizers) > 0 {
				t.Errorf("it let go of something: %v, %v", w.inventory, w.resources["web"].Finalizers)
			}
			w.took()
			w.sync(applying)
			w.pass(time.Second)
			same(t, "did in mode apply", w.took(), []string{"apply b", "status Healthy", "remove a", "status Healthy"})
		})
	})
}

func TestDeletedWhileItObserves(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
			w.deliver(w.commit("one", "a"))
			w.sync(observing)
			w.took()
			w.sync(func(s *v1alpha1.Sync) { s.DeletionTimestamp = deletedNow() })
			same(t, "did", w.took(), []string{"let go"})
		})
	})
}

func TestDependentsOfWhatIsObserved(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.syncNamed("db", "uid-2", observing)
			w.sync(func(s *v1alpha1.Sync) { s.Spec.DependsOn = []v1alpha1.Dependency{{Name: "db"}} })
			w.deliver(w.commit("one", "a", "db"))
			if slices.Contains(w.took(), "apply a") {
				t.Error("applied before what it depends on is there")
			}
			w.mu.Lock()
			hash := hashOfText("db")
			w.others = others{key("db"): holding(key("db"), hex.EncodeToString(hash[:]))}
			w.mu.Unlock()
			w.loop.ObjectChanged(v1alpha1.Label("shop", "db"))
			w.settle()
			if did := w.took(); !slices.Contains(did, "apply a") {
				t.Errorf("did %v after it was there", did)
			}
		})
	})
}

func TestAnErrorIsTriedAgain(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(observing)
			w.loop.deps.Previewer = broken{w.loop.deps.Previewer, &w.previewed}
			w.deliver(w.commit("one", "a"))
			if w.status().Observed != nil {
				t.Error("observed although nothing was compared")
			}
			w.pass(time.Minute)
			if w.status().Observed == nil {
				t.Error("not tried again")
			}
		})
	})
}

func TestNewerContentEndsAComparison(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(observing)
			w.took()
			w.hold = make(chan struct{})
			w.deliver(w.commit("one", "a", "b"))
			w.mu.Lock()
			w.hold = nil
			w.mu.Unlock()
			w.deliver(w.commit("two", "c"))
			same(t, "did", w.took(), []string{"try a", "status Observing", "try c", "status Observing"})
			if o := w.status().Observed; counted(o) != "create 1 update 0 adopt 0 prune 0 refused 0 equal 0" || o.Changes[0].Object != "ConfigMap/shop/c" {
				t.Errorf("%+v", o)
			}
		})
	})
}

var errOnce = errors.New("once")

// broken fails the first time.
type broken struct {
	Previewer
	times *int
}

func (b broken) Run(ctx context.Context, req preview.Request, each func(preview.Change) error) (preview.Summary, error) {
	if *b.times++; *b.times == 1 {
		return nil, errOnce
	}
	return b.Previewer.Run(ctx, req, each)
}

func TestObservationIsBounded(t *testing.T) {
	t.Parallel()
	var changes []preview.Change
	for i := range v1alpha1.MaxChanges + 3 {
		c := preview.Change{Key: key(fmt.Sprint(i)), Action: preview.Update, FieldsOmitted: 2}
		for range v1alpha1.MaxChangedFields + 4 {
			c.Fields = append(c.Fields, preview.Field{Path: "p"})
		}
		changes = append(changes, c, preview.Change{Action: preview.None}, preview.Change{Action: preview.Skip})
	}
	o := observation(changes)
	if len(o.Changes) != v1alpha1.MaxChanges || o.ChangesOmitted != 3 || o.Update != v1alpha1.MaxChanges+3 || o.Equal != v1alpha1.MaxChanges+3 {
		t.Errorf("%d changes, %d omitted, %s", len(o.Changes), o.ChangesOmitted, counted(o))
	}
	if got := o.Changes[0]; len(got.Fields) != v1alpha1.MaxChangedFields || got.FieldsOmitted != 6 {
		t.Errorf("%d fields, %d omitted", len(got.Fields), got.FieldsOmitted)
	}
}

// What the Sync owns as it was applied is not asked about, and was there before it was looked at.
func TestWhatIsOwnedAndWasNotSeenCounts(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.mu.Lock()
			w.blind = true
			w.mu.Unlock()
			w.sync(observing)
			same(t, "did", w.took(), []string{"status Observing"})
			if s := w.status(); s.HealthySince == nil || s.Objects.Current != 2 {
				t.Errorf("status: got %+v", s)
			}
		})
	})
}
