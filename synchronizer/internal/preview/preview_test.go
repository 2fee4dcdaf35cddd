package preview

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

const label = "shop.web"

// cluster answers as a cluster would, without one.
type cluster struct {
	records map[object.Key]live.Record
	trials  map[string]apply.Trial // by name

	mu    sync.Mutex
	tried []string
}

func (c *cluster) Get(key object.Key) (live.Record, bool) {
	r, ok := c.records[key]
	return r, ok
}

func (c *cluster) Owned(string) []live.Record {
	var owned []live.Record
	for _, r := range c.records {
		if r.Sync == label {
			owned = append(owned, r)
		}
	}
	return owned
}

func (c *cluster) Try(_ context.Context, as apply.Identity, _ string, step plan.Step) apply.Trial {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried = append(c.tried, step.Key.Name+" as "+as.ServiceAccount)
	t := c.trials[step.Key.Name]
	t.Step = step
	return t
}

func key(name string) object.Key { return object.Key{Kind: "ConfigMap", Namespace: "shop", Name: name} }

func configMap(name, value string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "data": map[string]any{"a": value},
	}}
}

func desired(name string) render.Desired {
	return render.Desired{
		Key: key(name), GVK: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, Hash: [32]byte{1}, Object: configMap(name, "git"),
		Origin: object.Origin{File: name + ".yaml", Line: 3},
	}
}

func owned(name string) live.Record {
	return live.Record{Key: key(name), UID: "u", Sync: label, OwnerNamesItself: true, Ours: true}
}

// run looks at objects of Git and says what came of each.
func (c *cluster) run(t *testing.T, change func(*Request), objects ...render.Desired) ([]Change, Summary) {
	t.Helper()
	previewer := New(Deps{
		Live: c, Applier: c, Concurrency: 2, Exists: func(string) bool { return true },
		Load: func(context.Context, []*render.Desired) error { return nil },
	})
	s := &v1alpha1.Sync{}
	s.Namespace, s.Name = "shop", "web"
	req := Request{Sync: s, Rendered: &render.Result{Objects: objects}, Inventory: map[object.Key]inventory.Entry{}}
	for key := range c.records {
		req.Inventory[key] = inventory.Entry{Key: key, UID: "u", Desired: [32]byte{1}}
	}
	if change != nil {
		change(&req)
	}
	var changes []Change
	total, err := previewer.Run(t.Context(), req, func(c Change) error {
		changes = append(changes, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return changes, total
}

func TestActions(t *testing.T) {
	t.Parallel()
	drifted := owned("a")
	drifted.Baseline, drifted.Writers = [32]byte{9}, []string{"kubectl-edit"}
	deleting := owned("a")
	deleting.Deleting = true
	foreign := owned("a")
	foreign.Sync = "shop.other"
	refusal := func(class apply.Class) error { return &apply.Error{Key: key("a"), Class: class, Message: "says no"} }
	with := func(change func(*render.Desired)) render.Desired {
		d := desired("a")
		change(&d)
		return d
	}
	stored := func(value, writer string) *unstructured.Unstructured {
		u := configMap("a", value)
		u.Object["metadata"] = map[string]any{"name": "a", "managedFields": []any{map[string]any{"manager": writer, "operation": "Update"}}}
		return u
	}
	cases := map[string]struct {
		reason string
		known  []live.Record
		trial  apply.Trial
		object render.Desired
		more   []render.Desired
		change func(*Request)
		want   Action
		says   string
		differ bool
		asked  int
	}{
		"Create": {"It is not there.", nil, apply.Trial{After: configMap("a", "git")}, desired("a"), nil, nil, Create, "it is not there", true, 1},
		"None":   {"It is as it was applied: no request.", []live.Record{owned("a")}, apply.Trial{}, desired("a"), nil, nil, None, "", false, 0},
		"Update": {
			"Git changed.",
			[]live.Record{owned("a")},
			apply.Trial{Before: configMap("a", "old"), After: configMap("a", "git")},
			with(func(d *render.Desired) { d.Hash[0] = 2 }), nil, nil, Update, "Git says something else", true, 1,
		},
		"ChangedToTheSame": {
			"A comment in Git.",
			[]live.Record{owned("a")},
			apply.Trial{Before: configMap("a", "git"), After: configMap("a", "git")},
			with(func(d *render.Desired) { d.Hash[0] = 2 }), nil, nil, None, "", false, 1,
		},
		"Drifted": {
			"Somebody changed it.",
			[]live.Record{drifted},
			apply.Trial{Before: configMap("a", "hand"), After: configMap("a", "git")},
			desired("a"), nil, nil, Update, "it was changed by kubectl-edit", true, 1,
		},
		"DriftLeft": {
			"And may.",
			[]live.Record{drifted},
			apply.Trial{Before: configMap("a", "hand"), After: configMap("a", "git")},
			desired("a"), nil, func(r *Request) { r.Sync.Spec.Drift = v1alpha1.DriftReport }, None, "it was changed by kubectl-edit, and is left so, because its drift policy is report", false, 1,
		},
		"Adopt": {
			"It is somebody's.", nil,
			apply.Trial{Before: stored("theirs", "helm"), After: configMap("a", "git"), Adopts: true},
			desired("a"), nil, nil, Adopt, "it is there, written by helm", true, 1,
		},
		"AdoptEqual": {
			"Marks are no difference.", nil,
			apply.Trial{Before: stored("git", "helm"), After: configMap("a", "git"), Adopts: true},
			desired("a"), nil, nil, Adopt, "it is there, written by helm", false, 1,
		},
		"Recreate": {
			"It refuses a change in place.",
			[]live.Record{owned("a")},
			apply.Trial{Before: configMap("a", "old"), Recreates: true},
			with(func(d *render.Desired) { d.Hash[0] = 2 }), nil, nil, Recreate, "a field that cannot be changed in place differs, and it asks to be made anew then", true, 1,
		},
		"CreateOnly": {
			"It is there.", nil,
			apply.Trial{Before: configMap("a", "x"), After: configMap("a", "x")},
			with(func(d *render.Desired) { d.Policy.Apply = v1alpha1.ApplyCreateOnly }), nil, nil, None, "it is there, and is made once only", false, 1,
		},
		"Skip": {
			"It asks.", nil,
			apply.Trial{},
			with(func(d *render.Desired) { d.Policy.Apply = v1alpha1.ApplySkip }), nil, nil,
			Skip, "it asks to be left alone by tandem.dev/apply", false, 0,
		},
		"Hook": {
			"It would run.", nil,
			apply.Trial{},
			with(func(d *render.Desired) { d.Policy.Hook = v1alpha1.HookPreSync }), nil, nil,
			Skip, "it is a pre-sync hook, which runs when the content is applied", false, 0,
		},
		"Refused": {"RBAC or admission.", nil, apply.Trial{Err: refusal(apply.Denied)}, desired("a"), nil, nil, Refused, "says no", true, 1},
		"Owned": {
			"Another Sync's, by what the watches know.",
			[]live.Record{foreign},
			apply.Trial{},
			desired("a"), nil, func(r *Request) { r.Inventory = nil },
			Refused, "it is owned by the Sync shop.other and left to it; take it out of one of the two", true, 0,
		},
		"NoNamespace": {"A namespace that nobody makes.", nil, apply.Trial{Err: refusal(apply.NoNamespace)}, desired("a"), nil, nil, Refused, "says no", true, 1},
		"ItsNamespace": {
			"One that the commit makes.", nil,
			apply.Trial{Err: refusal(apply.NoNamespace)},
			desired("a"),
			[]render.Desired{{Key: object.Key{Kind: "Namespace", Name: "shop"}, Policy: render.Policy{Apply: v1alpha1.ApplySkip}}},
			nil,
			Create, "its namespace comes with the same commit", true, 1,
		},
		"UnknownKind": {"A kind that nobody defines.", nil, apply.Trial{Err: refusal(apply.UnknownKind)}, desired("a"), nil, nil, Refused, "says no", true, 1},
		"ItsKind": {
			"One that the commit defines.", nil,
			apply.Trial{Err: refusal(apply.UnknownKind)},
			desired("a"),
			[]render.Desired{{Key: key("crd"), Defines: &render.Definition{GroupKind: schema.GroupKind{Kind: "ConfigMap"}}, Policy: render.Policy{Apply: v1alpha1.ApplySkip}}},
			nil,
			Create, "its kind comes with the same commit", true, 1,
		},
		"Deleting": {"It is made anew once it is gone.", []live.Record{deleting}, apply.Trial{}, desired("a"), nil, nil, Create, "the present one is being deleted", true, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &cluster{records: map[object.Key]live.Record{}, trials: map[string]apply.Trial{"a": tc.trial}}
			for _, r := range tc.known {
				c.records[r.Key] = r
			}
			changes, _ := c.run(t, tc.change, append([]render.Desired{tc.object}, tc.more...)...)
			got := changes[0]
			for _, change := range changes {
				if change.Key == key("a") {
					got = change
				}
			}
			if got.Left != (name == "DriftLeft") {
				t.Errorf("left as it is: %v", got.Left)
			}
			if got.Action != tc.want || got.Reason != tc.says || got.Differs() != tc.differ || len(c.tried) != tc.asked {
				t.Errorf("%s: %s (%s), differs: %v, tried %v", tc.reason, got.Action, got.Reason, got.Differs(), c.tried)
			}
			if got.File != "a.yaml" || got.Line != 3 {
				t.Errorf("at %s:%d", got.File, got.Line)
			}
			if tc.asked > 0 && c.tried[0] != "a as tandem" {
				t.Errorf("tried %v", c.tried)
			}
			shows := got.Action == Create && !deletingOf(tc.known) || len(got.Fields) > 0
			if shows != (got.Diff != "") || (got.Live != [32]byte{}) != (tc.trial.Before != nil) {
				t.Errorf("difference %q, compared with %x", got.Diff, got.Live)
			}
		})
	}
}

func deletingOf(known []live.Record) bool { return len(known) > 0 && known[0].Deleting }

func TestRemovals(t *testing.T) {
	t.Parallel()
	c := &cluster{records: map[object.Key]live.Record{}}
	for i := range 12 {
		r := owned(fmt.Sprintf("old-%02d", i))
		c.records[r.Key] = r
	}
	changes, total := c.run(t, nil)
	if total[Prune] != 12 || !changes[0].Held || changes[0].Reason != "it is gone from Git, and waits for consent: 12 of 12 owned objects are" || changes[11].Key != key("old-11") {
		t.Errorf("%v: %+v", total, changes)
	}
	changes, _ = c.run(t, func(r *Request) {
		r.Content = "c"
		r.Sync.Annotations = map[string]string{v1alpha1.AnnotationAllowPrune: r.Sync.PruneConsent("c")}
	})
	if len(changes) != 12 || changes[0].Held || len(c.tried) > 0 {
		t.Errorf("with consent: %+v, tried %v", changes, c.tried)
	}
	changes, _ = c.run(t, func(r *Request) {
		r.Rendered.Broken = map[string]bool{"": true} // the records' file
	})
	if len(changes) != 0 {
		t.Errorf("from a file that could not be read: %+v", changes)
	}
}

func TestOnly(t *testing.T) {
	t.Parallel()
	c := &cluster{trials: map[string]apply.Trial{"b": {After: configMap("b", "git")}}}
	changes, total := c.run(t, func(r *Request) { r.Only = func(k object.Key) bool { return k == key("b") } }, desired("c"), desired("b"), desired("a"))
	if len(changes) != 1 || changes[0].Key != key("b") || len(c.tried) != 1 {
		t.Errorf("%+v, tried %v", changes, c.tried)
	}
	if diff := cmp.Diff(Summary{Create: 1}, total); diff != "" {
		t.Error(diff)
	}
}

var errBoom = errors.New("boom")

func TestTheListenerEndsIt(t *testing.T) {
	t.Parallel()
	c := &cluster{trials: map[string]apply.Trial{}}
	var objects []render.Desired
	for i := range 9 {
		name := fmt.Sprint(i)
		objects, c.trials[name] = append(objects, desired(name)), apply.Trial{After: configMap(name, "git")}
	}
	previewer := New(Deps{
		Live: c, Applier: c, Concurrency: 2, Exists: func(string) bool { return true },
		Load: func(context.Context, []*render.Desired) error { return nil },
	})
	var told []string
	_, err := previewer.Run(t.Context(), Request{Sync: &v1alpha1.Sync{}, Rendered: &render.Result{Objects: objects}}, func(change Change) error {
		told = append(told, change.Key.Name)
		if len(told) == 3 {
			return errBoom
		}
		return nil
	})
	if !errors.Is(err, errBoom) || len(c.tried) != 4 {
		t.Errorf("%v after %v, tried %v: want no more than the objects that were tried beside", err, told, c.tried)
	}
	if diff := cmp.Diff([]string{"0", "1", "2"}, told); diff != "" {
		t.Error(diff)
	}
}

// Whoever asked recovers, so that what nobody signed ends an answer and not the process.
func TestAPanicOfATrialIsTheCallers(t *testing.T) {
	t.Parallel()
	c := &cluster{trials: map[string]apply.Trial{"a": {}}} // neither before nor after: nothing that judge expects
	previewer := New(Deps{
		Live: c, Applier: c, Exists: func(string) bool { return true }, Load: func(context.Context, []*render.Desired) error { return nil },
	})
	defer func() {
		if recover() == nil {
			t.Error("nothing to recover from")
		}
	}()
	_, err := previewer.Run(t.Context(), Request{Sync: &v1alpha1.Sync{}, Rendered: &render.Result{Objects: []render.Desired{desired("a")}}}, nil)
	t.Errorf("got %v, want a panic", err)
}

// What was forgotten is read once for all that are held at a time, into copies.
func TestForgottenObjectsAreReadTogether(t *testing.T) {
	t.Parallel()
	c := &cluster{trials: map[string]apply.Trial{}}
	var objects []render.Desired
	for i := range 5 {
		name := fmt.Sprint(i)
		d := desired(name)
		d.Object, d.Bytes = nil, maxLoaded/2
		objects, c.trials[name] = append(objects, d), apply.Trial{After: configMap(name, "git")}
	}
	var read []int
	previewer := New(Deps{
		Live: c, Applier: c, Concurrency: 1, Exists: func(string) bool { return true },
		Load: func(_ context.Context, forgotten []*render.Desired) error {
			read = append(read, len(forgotten))
			for _, d := range forgotten {
				d.Object = configMap(d.Key.Name, "git")
			}
			return nil
		},
	})
	total, err := previewer.Run(t.Context(), Request{Sync: &v1alpha1.Sync{}, Rendered: &render.Result{Objects: objects}}, func(Change) error { return nil })
	if err != nil || total[Create] != 5 {
		t.Errorf("got %v, %v", total, err)
	}
	if diff := cmp.Diff([]int{2, 2, 1}, read); diff != "" {
		t.Errorf("read at a time: -want, +got:\n%s", diff)
	}
	for _, d := range objects {
		if d.Object != nil {
			t.Errorf("%s is held by what was rendered", d.Key)
		}
	}
}
