package apply

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// A kind is served a moment after its CRD says so, and by some API servers
// later than by others.
const (
	servedTries = 20
	servedEvery = 100 * time.Millisecond
)

// containment knows what later steps stand on and did not come to be.
type containment struct {
	mu         sync.Mutex
	namespaces map[string]bool
	kinds      map[schema.GroupKind]error // of CRDs that failed, and why
	served     map[schema.GroupKind]bool  // of CRDs that this run applied
}

func newContainment() *containment {
	return &containment{namespaces: map[string]bool{}, kinds: map[schema.GroupKind]error{}, served: map[schema.GroupKind]bool{}}
}

// note takes the result of a step that others may stand on.
func (c *containment) note(r Result) {
	if r.Err == nil || r.Step.Action == plan.Delete {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if (r.Step.Key == object.Key{Kind: "Namespace", Name: r.Step.Key.Name}) {
		c.namespaces[r.Step.Key.Name] = true
	}
	if isCRD(r.Step.Key) && r.Step.Desired != nil && r.Step.Desired.Defines != nil {
		c.kinds[r.Step.Desired.Defines.GroupKind] = r.Err
	}
}

// blocks returns why a step cannot work; nil when it can be tried.
func (c *containment) blocks(step plan.Step) error {
	if step.Action == plan.Delete {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.namespaces[step.Key.Namespace] {
		return &Error{Key: step.Key, Class: Blocked, Message: fmt.Sprintf("waits for Namespace/%s, which could not be applied", step.Key.Namespace)}
	}
	if err := c.kinds[schema.GroupKind{Group: step.Key.Group, Kind: step.Key.Kind}]; err != nil {
		return &Error{Key: step.Key, Class: Blocked, Message: fmt.Sprintf("waits for the definition of its kind: %s", err), cause: err}
	}
	return nil
}

func isCRD(key object.Key) bool {
	return key.Group == "apiextensions.k8s.io" && key.Kind == "CustomResourceDefinition"
}

// establish waits until the kinds of CRDs are served; the objects of those that
// are not are blocked.
func (r *runner) establish(ctx context.Context, crds <-chan *unstructured.Unstructured) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Establish)
	defer cancel()
	for crd := range crds {
		err := r.deps.Established(ctx, crd)
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		r.failed.established(schema.GroupKind{Group: group, Kind: kind}, err)
	}
}

func (c *containment) established(kind schema.GroupKind, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.served[kind] = err == nil
	if err != nil {
		c.kinds[kind] = err
	}
}

func (c *containment) isNew(key object.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served[schema.GroupKind{Group: key.Group, Kind: key.Kind}]
}

// applyServed applies, and bears with an API server that does not serve the
// kind of a CRD of this run yet.
func (r *runner) applyServed(ctx context.Context, t *target) (*unstructured.Unstructured, error) {
	for try := 1; ; try++ {
		written, err := r.apply(ctx, t)
		if !isMissingKind(err) || !r.failed.isNew(t.Key) || try == servedTries {
			return written, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(servedEvery):
		}
	}
}
