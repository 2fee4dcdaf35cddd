package lease

import (
	"context"
	"time"
)

// Look says whether somebody holds a Lease and lives: it waits for a sign of life, at most for as long as the Lease has others wait
// for one. What clocks show does not matter. The record is the last that was seen.
func Look(ctx context.Context, of Store) (seen Record, lives bool, err error) {
	seen, err = of.Get(ctx)
	if err != nil {
		return seen, false, err
	}
	patience := max(seen.Duration, MinDuration)
	over := time.NewTimer(patience)
	defer over.Stop()
	again := time.NewTicker(patience / 10) //nolint:mnd // as often as the holder says that it lives
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return seen, false, ctx.Err()
		case <-over.C:
			return seen, false, nil
		case <-again.C:
		}
		now, err := of.Get(ctx)
		if err != nil {
			return seen, false, err
		}
		lives := now.Holder != "" && now.Version != seen.Version
		if seen = now; lives {
			return seen, true, nil
		}
	}
}
