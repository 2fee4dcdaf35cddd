package live

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
)

// judgePage is how many objects are read at a time to judge them anew.
const judgePage = 500

// own is how the objects of a Sync are judged when it has rules of its own.
type own struct {
	judge   *health.Judge // nil when it had some
	former  *health.Judge // before this one
	since   uint32        // the epoch in which this began
	pending bool          // some were judged otherwise, and must be read again
	late    bool          // one more was found since the reading began
	failure error         // why they could not be read
}

// covers reports whether it makes a difference for a kind.
func (o *own) covers(kind schema.GroupKind) bool {
	return o.judge != nil && o.judge.Owns(kind) || o.former != nil && o.former.Owns(kind)
}

// Judge has the objects of a Sync judged by a judge of its own from now on; nil
// is everybody's. Of records, which hold nothing to judge by, those that it
// makes a difference for are read again; the Sync is not synced before they are.
func (s *Store) Judge(label string, judge *health.Judge) {
	s.locked(func() {
		before := s.judges[label]
		if before == nil && judge == nil || before != nil && before.judge == judge {
			return
		}
		s.epoch++
		now := &own{judge: judge, since: s.epoch}
		if before != nil {
			now.former = before.judge
		}
		s.judges[label] = now
		for _, w := range s.watches {
			now.pending = now.pending || now.covers(w.kind.GroupKind()) && w.concerns(label)
		}
	})
	s.look()
}

// judgeOf returns how an object is judged now, as its Sync says, and in which
// epoch that is.
func (s *Store) judgeOf(obj *unstructured.Unstructured) (judge func(*unstructured.Unstructured) health.Status, epoch uint32) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o := s.judges[text(obj, "labels", v1alpha1.LabelSync)]; o != nil && o.judge != nil {
		return o.judge.Of, s.epoch
	}
	return s.config.Health, s.epoch
}

// check notes when an entry was judged as its Sync no longer says. The caller
// holds mu.
func (s *Store) check(e *entry, kind schema.GroupKind) {
	if o := s.judges[e.sync.Value()]; !s.config.Looking && o != nil && e.epoch < o.since && o.covers(kind) {
		o.pending, o.late = true, true
		s.look()
	}
	for label := range s.looked[keyOf(kind.WithVersion(""), e.namespace.Value(), e.name)] {
		if s.unlikeRules(label, e, kind) {
			s.judges[label].pending, s.judges[label].late = true, true
			s.look()
		}
	}
}

// rejudge reads the objects again that must be judged anew. It returns when to
// try again because the cluster could not be asked; 0 for never.
func (s *Store) rejudge(ctx context.Context) (again time.Duration) {
	for label, o := range s.unjudged() {
		if err := s.rejudgeOne(ctx, label, o); err != nil {
			again = mapAgain
		}
	}
	return again
}

func (s *Store) unjudged() map[string]*own {
	s.mu.Lock()
	defer s.mu.Unlock()
	var pending map[string]*own
	for label, o := range s.judges {
		if o.pending {
			if pending == nil {
				pending = map[string]*own{}
			}
			pending[label], o.late = o, false
		}
	}
	return pending
}

func (s *Store) rejudgeOne(ctx context.Context, label string, o *own) error {
	var failure error
	for _, w := range s.judgedBy(label, o) {
		if failure = s.readAgain(ctx, w, label); failure != nil {
			break
		}
	}
	s.change(func(changed changes) {
		o.pending, o.failure = failure != nil || o.late, failure
		changed[label] = true
	})
	return failure
}

// judgedBy returns the watches with records that a Sync's own rules make a
// difference for.
func (s *Store) judgedBy(label string, o *own) (watches []*watched) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, w := range s.watches {
		if o.covers(w.kind.GroupKind()) && w.concerns(label) {
			watches = append(watches, w)
		}
	}
	return watches
}

// readAgain reads the objects of a Sync that a watch has. What the watch brings
// meanwhile is newer, and stays.
func (s *Store) readAgain(ctx context.Context, w *watched, label string) error {
	options := metav1.ListOptions{LabelSelector: v1alpha1.LabelSync + "=" + label, Limit: judgePage}
	if s.config.Looking {
		options.LabelSelector = "" // they are anybody's
	}
	for {
		list, err := s.client.Resource(w.resource).Namespace(w.namespace).List(ctx, options)
		s.metrics.lists.WithLabelValues(resultOf(err)).Inc()
		if err != nil {
			return fmt.Errorf("list %s to judge them by the Sync's own rules: %w", &w.feed, err)
		}
		entries := make([]*entry, len(list.Items))
		for i := range list.Items {
			if entries[i], err = w.entryOf(&list.Items[i]); err != nil {
				return err
			}
		}
		s.change(func(changed changes) {
			for _, e := range entries {
				w.put(e, changed)
			}
		})
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}
