package live

import (
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// Planned are records as a plan needs them.
func Planned(records []Record) map[object.Key]plan.Live {
	objects := make(map[object.Key]plan.Live, len(records))
	for i := range records {
		objects[records[i].Key] = records[i].planned()
	}
	return objects
}

func (r *Record) planned() plan.Live {
	return plan.Live{
		UID: r.UID, GVK: r.GVK, Sync: r.Sync, Owned: r.Owned(), Baseline: r.Baseline, Deleting: r.Deleting,
		Current: r.Health.State == health.Current, Keep: r.Keep, Confirm: r.Confirm, Writers: r.Writers,
	}
}

// Planned returns the objects that carry a Sync's label, as a plan needs them.
func (s *Store) Planned(label string) map[object.Key]plan.Live {
	s.mu.RLock()
	defer s.mu.RUnlock()
	objects := make(map[object.Key]plan.Live, s.count(label))
	s.owned(label, func(w *watched, e *entry) {
		r := e.unpack(w.kind)
		objects[r.Key] = r.planned()
	})
	return objects
}
