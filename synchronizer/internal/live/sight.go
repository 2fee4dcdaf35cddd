package live

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// Seen returns the record of an object that a Sync looks at, as healthy as the
// Sync's own rules find it. It is for stores that are Looking.
func (s *Store) Seen(label string, key object.Key) (Record, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	w, e := s.find(key)
	if e == nil {
		return Record{}, false
	}
	record := e.unpack(w.kind)
	if s.rulesOn(label, w.kind.GroupKind()) != nil {
		if verdict, judged := e.own[label]; judged {
			record.Health = verdict
		}
	}
	return record, true
}

// rulesOn returns the rules of a Sync that judge a kind; nil when it has none.
// The caller holds mu.
func (s *Store) rulesOn(label string, kind schema.GroupKind) *own {
	if o := s.judges[label]; o != nil && o.judge != nil && o.judge.Owns(kind) {
		return o
	}
	return nil
}

// unlikeRules reports whether a Sync's own rules have yet to judge an entry
// that it looks at. The caller holds mu.
func (s *Store) unlikeRules(label string, e *entry, kind schema.GroupKind) bool {
	o := s.rulesOn(label, kind)
	if o == nil {
		return false
	}
	_, judged := e.own[label]
	return !judged || e.epoch < o.since
}

// verdicts judges an object by the own rules of those who look at it.
func (s *Store) verdicts(obj *unstructured.Unstructured) verdicts {
	kind := obj.GroupVersionKind()
	judges := map[string]*health.Judge{}
	s.mu.RLock()
	for label := range s.looked[keyOf(kind, obj.GetNamespace(), obj.GetName())] {
		if o := s.rulesOn(label, kind.GroupKind()); o != nil {
			judges[label] = o.judge
		}
	}
	s.mu.RUnlock()
	if len(judges) == 0 {
		return nil
	}
	found := make(verdicts, len(judges))
	for label, judge := range judges {
		found[label] = judge.Of(obj)
	}
	return found
}

// concerns reports whether a watch has records that a Sync owns or looks at.
// The caller holds store.mu.
func (w *watched) concerns(label string) bool {
	if !w.store.config.Looking {
		return len(w.bySync[label]) > 0
	}
	for key := range w.store.looks[label] {
		if key.Group == w.kind.Group && key.Kind == w.kind.Kind && w.records[idOf(key)] != nil {
			return true
		}
	}
	return false
}

// rejudgeSeen has what a Sync has begun to look at judged by its own rules, if
// others looked at it before. The caller holds mu.
func (s *Store) rejudgeSeen(label string, keys []object.Key) {
	for _, key := range keys {
		w, e := s.find(key)
		if e != nil && s.unlikeRules(label, e, w.kind.GroupKind()) {
			s.judges[label].pending = true
		}
	}
}
