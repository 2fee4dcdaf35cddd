package apply

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// containment knows what later steps stand on and did not come to be.
type containment struct {
	mu         sync.Mutex
	namespaces map[string]bool
	kinds      map[schema.GroupKind]error // of CRDs that failed, and why
}

func newContainment() *containment {
	return &containment{namespaces: map[string]bool{}, kinds: map[schema.GroupKind]error{}}
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
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds[kind] = err
}
