// Package apply carries out the steps of a plan by server-side apply, as the service account of a Sync.
//
// One request for each object: the plan knows from the watches what exists and whose it is, so nothing is read first.
// Everything is written under one field manager, with force: what Git names, Git decides, and a field that somebody else
// holds is taken over. What Git does not name stays theirs. Objects of another Sync never get here; the plan refuses them.
//
// Unknown and doubled fields are refused by the API server (fieldValidation=Strict): a typing error in Git must not be
// dropped in silence.
package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

const (
	// Concurrency is how many requests of one Sync are under way at a time. More does not make the API server faster.
	Concurrency = 32
	// requestTimeout bounds one request; admission webhooks may take up to 30 s.
	requestTimeout = 45 * time.Second
	// establishTimeout bounds the wait for CustomResourceDefinitions that were just applied.
	establishTimeout = 30 * time.Second
)

// Mapper finds the resource of a kind.
type Mapper interface {
	Resource(ctx context.Context, kind schema.GroupVersionKind) (schema.GroupVersionResource, bool, error)
}

// Establisher waits until CustomResourceDefinitions are served.
type Establisher interface {
	Established(ctx context.Context, crds []*unstructured.Unstructured) error
}

// Result is what became of a step.
type Result struct {
	Step plan.Step
	// Object is the API server's answer to an apply.
	Object *unstructured.Unstructured
	// Err says why the step failed and what to do, for a person.
	Err error
}

// Applier carries out steps.
type Applier struct {
	clients     *Clients
	mapper      Mapper
	established Establisher
}

// New returns an applier.
func New(clients *Clients, mapper Mapper, established Establisher) *Applier {
	return &Applier{clients: clients, mapper: mapper, established: established}
}

// Run takes the steps stage by stage, those of one stage side by side, and calls done for each, from several goroutines.
// A failed step stops nothing. When the context ends, steps that have not begun are left out and its error is returned.
func (a *Applier) Run(ctx context.Context, as Identity, label string, steps []plan.Step, done func(Result)) error {
	client, err := a.clients.For(as)
	if err != nil {
		return err
	}
	w := &worker{applier: a, client: client, as: as, label: label, done: done}
	for len(steps) > 0 {
		n := 1
		for n < len(steps) && steps[n].Stage == steps[0].Stage {
			n++
		}
		if err := w.stage(ctx, steps[:n]); err != nil {
			return err
		}
		steps = steps[n:]
	}
	return nil
}

// worker carries out the steps of one Run.
type worker struct {
	applier *Applier
	client  dynamic.Interface
	as      Identity
	label   string
	done    func(Result)
}

// stage takes steps side by side, then waits for the definitions among them.
func (w *worker) stage(ctx context.Context, steps []plan.Step) error {
	crds := make(chan *unstructured.Unstructured, len(steps))
	var group errgroup.Group
	group.SetLimit(Concurrency)
	for _, step := range steps {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			result := w.step(ctx, step)
			if ctx.Err() != nil && result.Err != nil {
				return nil // it was cut off, which says nothing about the object
			}
			if result.Err == nil && isDefinition(step) {
				crds <- result.Object
			}
			w.done(result)
			return nil
		})
	}
	_ = group.Wait() // no step returns an error
	close(crds)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return w.establish(ctx, crds)
}

// establish waits for definitions. One that is not served in time fails the objects of its kind, not the others.
func (w *worker) establish(ctx context.Context, applied <-chan *unstructured.Unstructured) error {
	var crds []*unstructured.Unstructured
	for crd := range applied {
		crds = append(crds, crd)
	}
	if len(crds) == 0 {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, establishTimeout)
	defer cancel()
	_ = w.applier.established.Established(waiting, crds) // its objects say what is missing
	return ctx.Err()
}

func isDefinition(s plan.Step) bool {
	return s.Action == plan.Apply && s.Key.Kind == "CustomResourceDefinition" && s.Key.Group == "apiextensions.k8s.io"
}

func (w *worker) step(ctx context.Context, s plan.Step) Result {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	gvk := s.GVK
	if s.Desired != nil {
		gvk = s.Desired.GVK
	}
	resource, namespaced, err := w.applier.mapper.Resource(ctx, gvk)
	if err != nil {
		return Result{Step: s, Err: err}
	}
	target := w.client.Resource(resource).Namespace(s.Key.Namespace)
	if s.Action == plan.Delete {
		err := remove(ctx, target, s)
		return Result{Step: s, Err: explain(err, attempt{as: w.as, verb: "delete", resource: resource, namespaced: namespaced, key: s.Key})}
	}
	written, err := w.apply(ctx, target, s)
	return Result{Step: s, Object: written, Err: explain(err, attempt{as: w.as, verb: "patch", resource: resource, namespaced: namespaced, key: s.Key})}
}

func (w *worker) apply(ctx context.Context, target dynamic.ResourceInterface, s plan.Step) (*unstructured.Unstructured, error) {
	if s.Desired.Object == nil {
		return nil, errors.New("rendered object was dropped before it was applied")
	}
	patch, err := json.Marshal(marked(s.Desired.Object.Object, s.Key, w.label))
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	force := true
	return target.Patch(ctx, s.Key.Name, types.ApplyPatchType, patch, metav1.PatchOptions{
		FieldManager: v1alpha1.FieldManager, Force: &force, FieldValidation: metav1.FieldValidationStrict,
	})
}

// marked returns a manifest with our label and annotation. The manifest itself is not changed.
func marked(manifest map[string]any, key object.Key, label string) map[string]any {
	out := maps.Clone(manifest)
	metadata, _ := manifest["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	if metadata == nil {
		metadata = map[string]any{"name": key.Name}
	}
	delete(metadata, "namespace") // a cluster-scoped object may have one written by mistake
	if key.Namespace != "" {
		metadata["namespace"] = key.Namespace
	}
	metadata["labels"] = with(metadata["labels"], v1alpha1.LabelSync, label)
	metadata["annotations"] = with(metadata["annotations"], v1alpha1.AnnotationOwner, key.ID())
	out["metadata"] = metadata
	return out
}

func with(values any, key, value string) map[string]any {
	old, _ := values.(map[string]any)
	out := maps.Clone(old)
	if out == nil {
		out = map[string]any{}
	}
	out[key] = value
	return out
}

// remove deletes the object that was meant; one that is gone, or another one under its name, is no failure.
func remove(ctx context.Context, target dynamic.ResourceInterface, s plan.Step) error {
	background := metav1.DeletePropagationBackground
	err := target.Delete(ctx, s.Key.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &s.UID}, PropagationPolicy: &background,
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
