package automator

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/shared/telemetry"
)

// tidyRest is how long a mirror is left alone after it was tidied up, or could not be.
const tidyRest = 10 * time.Minute

// untidy is a mirror, in which fetches and commits leave much behind.
type untidy interface {
	// MaintenanceDue tells whether Maintain is worth its time.
	MaintenanceDue() bool
	// Maintain tidies up. It may take minutes, and all else goes on meanwhile.
	Maintain(ctx context.Context) error
}

// tidier tidies one mirror up.
type tidier struct {
	mirror  untidy
	fetched <-chan struct{}
	turn    chan struct{} // holds one token while any mirror of the process is tidied up
	log     *zap.Logger
}

// run tidies up after fetches until the context is done.
func (t tidier) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.fetched:
		}
		if !t.mirror.MaintenanceDue() {
			continue
		}
		if err := t.tidy(ctx); err != nil {
			return err
		}
	}
}

func (t tidier) tidy(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case t.turn <- struct{}{}:
	}
	began := time.Now()
	err := t.mirror.Maintain(ctx)
	<-t.turn
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		t.log.Warn("mirror not tidied up", zap.Error(err))
	default:
		t.log.Debug("mirror tidied up", zap.Duration(telemetry.Duration, time.Since(began)))
	}
	rested := time.NewTimer(tidyRest)
	defer rested.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-rested.C:
		return nil
	}
}
