// Package preview says what an apply of a Sync's objects would change in the cluster, and writes nothing.
//
// What is to be looked at is decided by the same plan that applies, so an object that is as it was applied costs no request.
// For each other one the apply itself is tried: the same request by the same account, as a server-side dry run. It goes through
// admission and RBAC, and a refusal is the one that an apply would meet. Removals come from the plan alone, with the guard's
// verdict.
//
// Dry runs need the rights that the apply needs; Kubernetes has no others for them.
package preview

import (
	"context"
	"iter"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/shared/run"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/compare"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

// Action is what an apply would do with an object.
type Action string

// The actions.
const (
	Create   Action = "create"   // it is not there
	Update   Action = "update"   // it is the Sync's, and differs
	Adopt    Action = "adopt"    // it is there and not the Sync's; it may differ or not
	Recreate Action = "recreate" // it would be deleted and made anew
	Prune    Action = "prune"    // it is gone from Git
	Refused  Action = "refused"  // the apply would fail
	Skip     Action = "skip"     // it asks to be left alone
	None     Action = "none"     // nothing
)

// Field is a field that differs.
type Field = compare.Field

// Change is what an apply would do with one object.
type Change struct {
	Key    object.Key
	Action Action
	// Reason says why, in a sentence; for Refused what to do as well. It may be empty for None.
	Reason string
	// Fields are what would differ, and FieldsOmitted how many more there are. An object that would be made has none.
	Fields        []Field
	FieldsOmitted int
	// Diff is the same as YAML, in the unified format.
	Diff string
	// Warnings are the API server's.
	Warnings []string
	// File and Line are where Git says so; empty for Prune.
	File string
	Line int
	// Held says that a removal waits for consent.
	Held bool
	// Left says that somebody changed the object and that an apply leaves it so, as its drift policy says: the action is None.
	Left bool
	// Asked says that the cluster was asked, and Live is the digest of the object as it was then; zero for none. What was not
	// asked follows from the plan.
	Asked bool
	Live  [32]byte
}

// Differs reports whether the cluster would not be the same afterwards, marks of ownership aside.
func (c Change) Differs() bool {
	switch c.Action {
	case Skip, None:
		return false
	case Adopt:
		return len(c.Fields) > 0
	default:
		return true
	}
}

// Request says what is to be looked at.
type Request struct {
	Sync *v1alpha1.Sync
	// Rendered are the objects of Git. They are only read.
	Rendered *render.Result
	// Inventory is what is recorded of the Sync's objects.
	Inventory map[object.Key]inventory.Entry
	// Content is the content id of what is rendered: consent to removals is given for one content.
	Content string
	// Only, unless nil, says which objects of Git are looked at. Removals are said whatever it says.
	Only func(object.Key) bool
}

// Summary counts objects by action.
type Summary map[Action]int

// DefaultConcurrency is how many objects are tried at a time: a preview is in less of a hurry than an apply.
const DefaultConcurrency = 8

// Deps is what a previewer works with.
type Deps struct {
	// Live is what the watches know of objects that carry a Sync's label.
	Live Live
	// Applier tries applies.
	Applier Applier
	// Load gives back objects that were forgotten.
	Load func(ctx context.Context, objects []*render.Desired) error
	// Exists reports whether there is a Sync of a label.
	Exists func(label string) bool
	// Seen is told of every object that was read; nil tells nobody.
	Seen func(*unstructured.Unstructured)
	// Concurrency is how many objects are tried at a time; DefaultConcurrency when 0.
	Concurrency int
}

// Live is what the watches know.
type Live interface {
	Get(key object.Key) (live.Record, bool)
	Owned(label string) []live.Record
}

// Applier tries applies.
type Applier interface {
	Try(ctx context.Context, as apply.Identity, label string, step plan.Step) apply.Trial
}

// Previewer says what applies would change.
type Previewer struct{ deps Deps }

// New returns a previewer.
func New(deps Deps) *Previewer {
	if deps.Concurrency <= 0 {
		deps.Concurrency = DefaultConcurrency
	}
	return &Previewer{deps}
}

// Run tells each what would become of every object, ordered by key, removals last. It stops at the first error of each, and
// when ctx ends. What it holds at a time is bounded.
func (p *Previewer) Run(ctx context.Context, req Request, each func(Change) error) (Summary, error) {
	r := newRound(p.deps, req)
	total := Summary{}
	for batch := range batches(r.objects()) {
		if err := r.load(ctx, batch); err != nil {
			return total, err
		}
		for chunk := range slices.Chunk(batch, p.deps.Concurrency) {
			changes, err := r.changes(ctx, chunk)
			if err != nil {
				return total, err
			}
			if err := total.tell(changes, each); err != nil {
				return total, err
			}
		}
	}
	return total, total.tell(r.removals(), each)
}

// maxLoaded bounds the objects that are held at a time, in bytes of their JSON. A file is read again for each part, so there
// are few.
const maxLoaded = 8 << 20

// batches cuts objects into parts that may be held at a time.
func batches(objects []*render.Desired) iter.Seq[[]*render.Desired] {
	return func(yield func([]*render.Desired) bool) {
		for len(objects) > 0 {
			n, size := 1, objects[0].Bytes
			for n < len(objects) && size+objects[n].Bytes <= maxLoaded {
				size += objects[n].Bytes
				n++
			}
			if !yield(objects[:n]) {
				return
			}
			objects = objects[n:]
		}
	}
}

// changes says what would become of objects, tried side by side.
func (r *round) changes(ctx context.Context, objects []*render.Desired) ([]Change, error) {
	changes := make([]Change, len(objects))
	err := run.Beside(ctx, len(objects), func(ctx context.Context, i int) (err error) {
		changes[i], err = r.change(ctx, objects[i])
		return err
	})
	return changes, err
}

func (s Summary) tell(changes []Change, each func(Change) error) error {
	for _, c := range changes {
		s[c.Action]++
		if err := each(c); err != nil {
			return err
		}
	}
	return nil
}
