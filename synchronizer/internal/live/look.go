package live

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// Look has objects looked at for a Sync, and their kinds watched; it replaces what the Sync looked at before. It is for stores
// that are Looking. An object that was there before it was named comes with its next event, or by Observe.
func (s *Store) Look(label string, kinds []v1alpha1.ObjectKind, keys []object.Key) {
	wanted := make(map[object.Key]bool, len(keys))
	for _, key := range keys {
		wanted[key] = true
	}
	s.locked(func() {
		s.lookAway(label, wanted)
		for _, key := range keys {
			if s.looked[key] == nil {
				s.looked[key] = map[string]bool{}
			}
			s.looked[key][label] = true
		}
		s.rejudgeSeen(label, keys)
	})
	s.Need(label, kinds)
}

// lookAway ends what Look began, but for some objects, and forgets those that nobody looks at any more. The caller holds mu.
func (s *Store) lookAway(label string, except map[object.Key]bool) {
	for key := range s.looks[label] { // and not what all others look at: this is asked in every pass
		if except[key] {
			continue
		}
		by := s.looked[key]
		delete(by, label)
		if len(by) > 0 {
			continue
		}
		delete(s.looked, key)
		for _, w := range s.byKind[schema.GroupKind{Group: key.Group, Kind: key.Kind}] {
			if known := w.records[idOf(key)]; known != nil {
				w.drop(known, changes{})
			}
			delete(w.gone, idOf(key))
		}
	}
	if len(except) == 0 {
		delete(s.looks, label)
	} else {
		s.looks[label] = except
	}
}

// looksAt reports whether an object is worth a record.
func (s *Store) looksAt(kind schema.GroupVersionKind, obj *unstructured.Unstructured) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.config.Looking {
		return !s.foreign[obj.GetLabels()[v1alpha1.LabelSync]]
	}
	return len(s.looked[keyOf(kind, obj.GetNamespace(), obj.GetName())]) > 0
}

// selector is what watches select by.
func (s *Store) selector() string {
	if s.config.Looking {
		return ""
	}
	return v1alpha1.LabelSync
}

func keyOf(kind schema.GroupVersionKind, namespace, name string) object.Key {
	return object.Key{Group: kind.Group, Kind: kind.Kind, Namespace: namespace, Name: name}
}

// lookers are the Syncs that look at an entry; none in a store that holds what Syncs own. The caller holds store.mu.
func (w *watched) lookers(e *entry) map[string]bool {
	return w.store.looked[keyOf(w.kind, e.namespace.Value(), e.name)]
}

// counts reports whether an entry is kept. The caller holds store.mu.
func (w *watched) counts(e *entry) bool { return !w.store.config.Looking || len(w.lookers(e)) > 0 }

// isForeign reports whether an entry is of a Sync that another replica works for. The caller holds store.mu.
func (w *watched) isForeign(e *entry) bool {
	return !w.store.config.Looking && w.store.foreign[e.sync.Value()]
}

// note tells the Syncs that an entry matters to. The caller holds store.mu.
func (w *watched) note(e *entry, changed changes) {
	if !w.store.config.Looking {
		changed[e.sync.Value()] = true
		return
	}
	for label := range w.lookers(e) {
		changed[label] = true
	}
}

// went remembers when an object went that is looked at and was never seen. The caller holds store.mu.
func (w *watched) went(e *entry) {
	if w.store.config.Looking && w.counts(e) {
		w.gone[e.id] = e.resourceVersion
	}
}

// dropped reports whether an object that there is no record of may have been there all the time, unnamed. The caller holds
// store.mu.
func (w *watched) dropped(e *entry) bool {
	at, gone := w.gone[e.id]
	return w.store.config.Looking && (!gone || !older(e.resourceVersion, at))
}
