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
		r := &records[i]
		objects[r.Key] = plan.Live{
			UID: r.UID, GVK: r.GVK, Sync: r.Sync, Owned: r.Owned(), Baseline: r.Baseline, Deleting: r.Deleting,
			Current: r.Health.State == health.Current, Keep: r.Keep, Confirm: r.Confirm, Writers: r.Writers,
		}
	}
	return objects
}
