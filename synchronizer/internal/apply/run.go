package apply

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/tandem-cd/tandem/shared/fair"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// The defaults.
const (
	// DefaultConcurrency is how many objects of a stage are written at a time:
	// where the throughput of an API server stops to grow.
	DefaultConcurrency = 32
	// DefaultTotal is how many objects of all Syncs are written at a time. The
	// last quarter is for Syncs of which none is.
	DefaultTotal = 64
	// DefaultTimeout bounds one object, admission webhooks included; those may
	// take 30 s each.
	DefaultTimeout = time.Minute
	// DefaultEstablish bounds how long a CRD may take to be served.
	DefaultEstablish = 30 * time.Second

	// grace is what a step that was begun gets to end after its context ended.
	grace = 5 * time.Second
)

// Config bounds the work.
type Config struct {
	Concurrency int           // of one Sync; 0 means DefaultConcurrency
	Total       int           // 0 means DefaultTotal
	Timeout     time.Duration // 0 means DefaultTimeout
	Establish   time.Duration // 0 means DefaultEstablish
}

// Deps is what others know.
type Deps struct {
	// Kinds says under which resource a kind is served; an error of kind
	// fault.NotFound means that it is not.
	Kinds interface {
		Resource(ctx context.Context, kind schema.GroupVersionKind) (schema.GroupVersionResource, bool, error)
	}
	// Established waits until a CRD that was applied is served.
	Established func(ctx context.Context, crd *unstructured.Unstructured) error
	// SyncExists reports whether there is a Sync of a label: what a Sync left
	// behind may be taken. Nil means that there always is.
	SyncExists func(label string) bool
}

func (d Deps) exists(label string) bool { return d.SyncExists == nil || d.SyncExists(label) }

// Result is what became of a step.
type Result struct {
	Step plan.Step
	// Object is what the API server answered to an apply; nil after a removal
	// and after a failure.
	Object *unstructured.Unstructured
	// Before is what the object was like before, where the step asks for an
	// explanation; nil when it could not be read.
	Before *unstructured.Unstructured
	// Warnings are the API server's, about deprecated versions for instance.
	Warnings []string
	// Err is an *Error that says why the step failed and what to do; nil for
	// success.
	Err error
}

// Applier takes steps.
type Applier struct {
	config  Config
	deps    Deps
	clients *clients
	slots   *fair.Limiter // by label
}

// New returns an applier that reaches the API server by config and acts as the
// identity of each run.
func New(config Config, cluster *rest.Config, deps Deps) (*Applier, error) {
	if config.Concurrency <= 0 {
		config.Concurrency = DefaultConcurrency
	}
	if config.Total <= 0 {
		config.Total = DefaultTotal
	}
	if config.Timeout <= 0 {
		config.Timeout = DefaultTimeout
	}
	if config.Establish <= 0 {
		config.Establish = DefaultEstablish
	}
	clients, err := newClients(cluster)
	if err != nil {
		return nil, err
	}
	slots := fair.NewLimiter(config.Total, config.Concurrency, config.Total/4)
	return &Applier{config, deps, clients, slots}, nil
}

// Run takes the steps of a Sync, whose label is put on what it applies, stage
// by stage; steps MUST be ordered by stage. done is told the result of each
// step, from several goroutines. When ctx ends no further step is begun, those
// without an answer have no result, and Run returns its error.
func (a *Applier) Run(ctx context.Context, as Identity, label string, steps []plan.Step, done func(Result)) error {
	client, err := a.clients.as(as)
	if err != nil {
		return err
	}
	r := &runner{Applier: a, client: client, who: as, label: label, done: done, failed: newContainment()}
	for len(steps) > 0 && ctx.Err() == nil {
		end := 1
		for end < len(steps) && steps[end].Stage == steps[0].Stage {
			end++
		}
		r.stage(ctx, steps[:end])
		steps = steps[end:]
	}
	return ctx.Err()
}

// runner takes the steps of one Run.
type runner struct {
	*Applier
	client dynamic.Interface
	who    Identity
	label  string
	done   func(Result)
	failed *containment
}

// stage takes steps side by side, and then waits for what later stages stand on.
func (r *runner) stage(ctx context.Context, steps []plan.Step) {
	var (
		workers sync.WaitGroup
		crds    = make(chan *unstructured.Unstructured, len(steps))
	)
	for _, step := range steps {
		if r.slots.Acquire(ctx, r.label) != nil {
			break
		}
		workers.Go(func() {
			defer r.slots.Release(r.label)
			result, answered := r.step(ctx, step)
			if !answered {
				return
			}
			r.failed.note(result)
			r.done(result)
			if result.Err == nil && result.Object != nil && isCRD(step.Key) {
				crds <- result.Object
			}
		})
	}
	workers.Wait()
	close(crds)
	r.establish(ctx, crds)
}

// step takes one step. It reports false when ctx ended before there was an
// answer, which says nothing about the object.
func (r *runner) step(ctx context.Context, step plan.Step) (result Result, answered bool) {
	result = Result{Step: step, Err: r.failed.blocks(step)}
	if result.Err != nil {
		return result, true
	}
	working, book := withNotebook(context.WithoutCancel(ctx))
	working, cancel := context.WithTimeout(working, r.config.Timeout)
	defer cancel()
	// A write that is cut off may have happened, and is done again: so it is
	// given a moment.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()
	t, err := r.target(working, step)
	switch {
	case err != nil:
	case step.Action == plan.Delete:
		err = t.remove(working)
	default:
		result.Before = t.before(working)
		result.Object, err = r.apply(working, t)
	}
	if err != nil {
		if ctx.Err() != nil && working.Err() != nil {
			return result, false
		}
		result.Object, result.Err = nil, classify(err, t)
	}
	result.Warnings = book.all()
	return result, true
}
