package live

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// watched holds the records of one kind in one namespace, or in all of them.
// It is what its feed's reflector writes into.
type watched struct {
	feed
	kind  schema.GroupVersionKind
	store *Store

	// The rest is guarded by store.mu.
	users    map[string]bool    // the Syncs that need it
	stop     context.CancelFunc // nil before it runs
	synced   bool
	progress string // how far the watch has come
	records  map[id]*entry
	gone     map[id]string // versions at which what is looked at went
	bySync   map[string]map[id]*entry
}

func newWatched(store *Store, at place, kind schema.GroupVersionKind) *watched {
	w := &watched{
		feed: feed{resource: at.resource, namespace: at.namespace, selector: store.selector(), metrics: store.metrics},
		kind: kind, store: store,
		users:   map[string]bool{},
		records: map[id]*entry{}, gone: map[id]string{}, bySync: map[string]map[id]*entry{},
	}
	w.unserved = func() { store.forget(kind) }
	w.turned = func() {
		store.change(func(changed changes) {
			for label := range w.users {
				changed[label] = true
			}
		})
	}
	return w
}

// reduced is an entry where client-go wants an object: between the first event
// of a streamed list and its end.
type reduced struct {
	standIn
	*entry
}

// standIn is an object of which only the identity is kept. Everything else is
// as in an empty object; nobody MUST set anything, it would be set for all.
type standIn struct {
	metav1.Object
	id      id
	version string
}

var emptyMeta metav1.Object = &metav1.ObjectMeta{} //nolint:gochecknoglobals // never written to

func newStandIn(id id, version string) standIn { return standIn{emptyMeta, id, version} }

func (s standIn) GetName() string            { return s.id.name }
func (s standIn) GetNamespace() string       { return s.id.namespace.Value() }
func (s standIn) GetResourceVersion() string { return s.version }

// Transformer makes the reflector keep no full object while a list streams in.
func (w *watched) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		e, err := w.entryOf(obj)
		if err != nil {
			return nil, err
		}
		return reduced{newStandIn(e.id, e.resourceVersion), e}, nil
	}
}

func (w *watched) entryOf(obj any) (*entry, error) {
	switch obj := obj.(type) {
	case reduced:
		return obj.entry, nil
	case *unstructured.Unstructured:
		if !w.store.looksAt(w.kind, obj) {
			return pack(Record{Key: keyOf(w.kind, obj.GetNamespace(), obj.GetName()), ResourceVersion: obj.GetResourceVersion(), bare: true}), nil
		}
		return pack(w.store.reduce(obj)), nil
	default:
		return nil, fmt.Errorf("%T is no object", obj)
	}
}

// Add takes an event of the watch.
func (w *watched) Add(obj any) error { return w.Update(obj) }

// Update takes an event of the watch.
func (w *watched) Update(obj any) error {
	e, err := w.entryOf(obj)
	if err != nil {
		return err
	}
	w.store.change(func(changed changes) {
		w.progress = e.resourceVersion
		w.put(e, changed)
	})
	return nil
}

// Delete takes an event of the watch: the object is gone, or lost our label.
func (w *watched) Delete(obj any) error {
	e, err := w.entryOf(obj)
	if err != nil {
		return err
	}
	w.store.change(func(changed changes) {
		w.progress = e.resourceVersion
		if known := w.records[e.id]; known != nil && !older(e.resourceVersion, known.resourceVersion) {
			w.drop(known, changed)
		}
		w.went(e)
	})
	return nil
}

// Replace takes a whole list. What we wrote after it was made stays.
func (w *watched) Replace(list []any, version string) error {
	entries := make(map[id]*entry, len(list))
	for _, obj := range list {
		e, err := w.entryOf(obj)
		if err != nil {
			return err
		}
		entries[e.id] = e
	}
	w.store.change(func(changed changes) {
		for at, known := range w.records {
			if entries[at] == nil && !older(version, known.resourceVersion) {
				w.drop(known, changed)
			}
		}
		for _, e := range entries {
			w.put(e, changed)
		}
		if !w.synced {
			for label := range w.users {
				changed[label] = true
			}
			w.store.look()
		}
		w.synced, w.progress = true, version
	})
	return nil
}

// Bookmark takes the news that there is no news.
func (w *watched) Bookmark(version string) error {
	w.store.change(func(changes) { w.progress = version })
	return nil
}

// Resync is never asked for.
func (w *watched) Resync() error { return nil }

// put keeps an entry unless a newer one is known. The caller holds store.mu.
func (w *watched) put(e *entry, changed changes) {
	if !w.counts(e) {
		return
	}
	delete(w.gone, e.id)
	known := w.records[e.id]
	if e.flags&bare != 0 || w.isForeign(e) { // named, or another's, since it was read; or not worth a record
		if known != nil && older(known.resourceVersion, e.resourceVersion) {
			w.drop(known, changed)
		}
		return
	}
	if known != nil && older(e.resourceVersion, known.resourceVersion) {
		return
	}
	w.store.check(e, w.kind.GroupKind())
	if known == nil || known.differs(e) {
		w.note(e, changed)
	}
	if e.flags&managedPods == managedPods && (known == nil || known.flags&managedPods != managedPods) {
		w.store.runs(object.Key{Group: w.kind.Group, Kind: w.kind.Kind, Namespace: e.namespace.Value(), Name: e.name})
	}
	if known != nil && known.sync != e.sync {
		w.drop(known, changed)
	}
	w.records[e.id] = e
	of := w.bySync[e.sync.Value()]
	if of == nil {
		of = map[id]*entry{}
		w.bySync[e.sync.Value()] = of
	}
	of[e.id] = e
}

// drop forgets an entry. The caller holds store.mu.
func (w *watched) drop(e *entry, changed changes) {
	sync := e.sync.Value()
	w.note(e, changed)
	delete(w.records, e.id)
	delete(w.bySync[sync], e.id)
	if len(w.bySync[sync]) == 0 {
		delete(w.bySync, sync)
	}
}
