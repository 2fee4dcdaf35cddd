package live

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// Observe takes the API server's answer to our own write, so that nobody plans
// on what was before it until the watch delivers it. An older event does not
// undo it; and where the watch has come further already, the watch is right:
// the object has changed or gone since.
func (s *Store) Observe(written *unstructured.Unstructured) {
	record := s.reduce(written)
	e := pack(record)
	s.locked(func() {
		for _, w := range s.byKind[record.GVK.GroupKind()] {
			if w.kind != record.GVK || w.namespace != "" && w.namespace != record.Key.Namespace {
				continue
			}
			if w.records[e.id] != nil || w.progress == "" || older(w.progress, e.resourceVersion) || w.dropped(e) {
				w.put(e, changes{})
				s.signal()
			}
		}
	})
}

// GetOne reads one object from the cluster, labelled or not.
func (s *Store) GetOne(ctx context.Context, kind schema.GroupVersionKind, name types.NamespacedName) (Record, error) {
	resource, _, err := s.mapper.Resource(ctx, kind)
	if err != nil {
		return Record{}, err
	}
	obj, err := s.client.Resource(resource).Namespace(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	if err != nil {
		return Record{}, fmt.Errorf("get %s %s: %w", kind.Kind, name, err)
	}
	return s.reduce(obj), nil
}

// Established waits until a CustomResourceDefinition that was applied is served,
// by the watch of its Sync, and makes its kinds known.
func (s *Store) Established(ctx context.Context, crd *unstructured.Unstructured) error {
	kind := crd.GroupVersionKind()
	key := object.Key{Group: kind.Group, Kind: kind.Kind, Name: crd.GetName()}
	if err := s.current(ctx, key); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	s.mapper.Learn(crd)
	return nil
}

// current waits until an object is Current, or Failed.
func (s *Store) current(ctx context.Context, key object.Key) error {
	told := make(chan struct{}, 1)
	s.locked(func() { s.waiting[told] = true })
	defer s.locked(func() { delete(s.waiting, told) })
	for {
		record, _ := s.Get(key)
		switch record.Health.State {
		case health.Current:
			return nil
		case health.Failed:
			return fmt.Errorf("not established: %s", record.Health.Message)
		default:
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not established: %w", ctx.Err())
		case <-told:
		}
	}
}

// signal tells those who wait for a change. The caller holds mu.
func (s *Store) signal() {
	for told := range s.waiting {
		select {
		case told <- struct{}{}:
		default:
		}
	}
}
