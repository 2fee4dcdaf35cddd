package update

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

// Mirror is what a Poller keeps up to date.
type Mirror interface {
	// Fetch brings the mirror to where the remote is. Who wants to know what moved is told by the mirror itself.
	Fetch(ctx context.Context) ([]gitrepo.RefChange, error)
	// MaintenanceDue tells whether Maintain is worth its time.
	MaintenanceDue() bool
	// Maintain tidies the mirror up.
	Maintain(ctx context.Context) error
}

// Poller fetches one repository: at once, whenever somebody hints that it changed, and every interval.
type Poller struct {
	mirror   Mirror
	interval time.Duration
	log      *zap.Logger
	hint     chan struct{}
	tidying  chan struct{} // holds one token while the mirror is maintained

	mu      sync.Mutex
	problem string
}

// NewPoller returns the poller of a mirror. It does nothing until Run.
func NewPoller(mirror Mirror, interval time.Duration, log *zap.Logger) *Poller {
	return &Poller{mirror: mirror, interval: interval, log: log, hint: make(chan struct{}, 1), tidying: make(chan struct{}, 1)}
}

// Hint says that the repository may have changed. It returns at once.
func (p *Poller) Hint() {
	select {
	case p.hint <- struct{}{}:
	default:
	}
}

// Problem says why the last fetch failed; empty when it did not.
func (p *Poller) Problem() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.problem
}

// Run fetches until the context is done.
func (p *Poller) Run(ctx context.Context) error {
	var maintenance sync.WaitGroup
	defer maintenance.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.hint:
		case <-timer.C:
		}
		_, err := p.mirror.Fetch(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.note(err)
		wait := p.interval - p.interval/10 + rand.N(p.interval/5+1)
		if err != nil {
			wait = min(wait, afterFailure().Delay(failed))
			failed++
		} else {
			failed = 0
			p.maintain(ctx, &maintenance)
		}
		timer.Reset(wait)
	}
}

// note remembers how a fetch went, and logs when that changes.
func (p *Poller) note(err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	p.mu.Lock()
	before := p.problem
	p.problem = problem
	p.mu.Unlock()
	switch {
	case problem != "" && before == "":
		p.log.Warn("repository not fetched", zap.Error(err))
	case problem == "" && before != "":
		p.log.Info("repository fetched again")
	}
}

// maintain tidies the mirror up beside the fetches, one at a time.
func (p *Poller) maintain(ctx context.Context, wg *sync.WaitGroup) {
	select {
	case p.tidying <- struct{}{}:
	default:
		return
	}
	if !p.mirror.MaintenanceDue() {
		<-p.tidying
		return
	}
	wg.Go(func() {
		defer func() { <-p.tidying }()
		began := time.Now()
		if err := p.mirror.Maintain(ctx); err != nil {
			if ctx.Err() == nil {
				p.log.Warn("mirror not maintained", zap.Error(err))
			}
			return
		}
		p.log.Debug("mirror maintained", zap.Duration(telemetry.Duration, time.Since(began)))
	})
}
