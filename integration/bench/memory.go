package bench

import (
	"context"

	"github.com/tandem-cd/tandem/integration/bench/measure"
)

// memory reads what both agents occupy.
func (b *bench) memory(_ context.Context, report *Report) (err error) {
	if report.Memory.Automator, err = measure.Resident(b.world.Automator.ID()); err != nil {
		return err
	}
	report.Memory.Synchronizer, err = measure.Resident(b.site.Synchronizer.ID())
	return err
}
