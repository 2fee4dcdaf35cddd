package relay

import (
	"context"
	"sync"
	"time"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

const (
	// maxJoined bounds the events that are stored together.
	maxJoined = 4096
	// appendTimeout bounds one storing: others wait for it who are not the caller.
	appendTimeout = time.Minute
)

// appender stores the events of many streams together: what arrives while a transaction runs is the next one. An
// announcement to a thousand clusters costs a few syncs of the disk and not thousands.
type appender struct {
	events  Events
	settled func(context.Context) // returns when nothing more urgent is to be done
	turn    chan struct{}         // holds one token while events are stored
	mu      sync.Mutex
	open    *joined // takes further events; nil when there is none
}

// joined is events of several callers.
type joined struct {
	events []*statusv1.Event
	parts  []*part
	done   chan struct{} // closed when every part has its error
}

// part is one caller's events.
type part struct {
	events []*statusv1.Event
	err    error
}

func newAppender(events Events, settled func(context.Context)) *appender {
	return &appender{events: events, settled: settled, turn: make(chan struct{}, 1)}
}

// append returns when events are stored for good. When it fails, none of these events is stored by it; that others' are
// wrong does not matter to them.
func (a *appender) append(ctx context.Context, events []*statusv1.Event) error {
	mine := &part{events: events}
	all, first := a.join(mine)
	if first {
		a.store(context.WithoutCancel(ctx), all)
		return mine.err
	}
	select {
	case <-all.done:
		return mine.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// join adds a part to the open events; who is first stores them.
func (a *appender) join(mine *part) (all *joined, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil || len(a.open.events)+len(mine.events) > maxJoined {
		a.open, first = &joined{done: make(chan struct{})}, true
	}
	a.open.events = append(a.open.events, mine.events...)
	a.open.parts = append(a.open.parts, mine)
	return a.open, first
}

// store waits for its turn and for a calm moment, so that others may join meanwhile.
func (a *appender) store(ctx context.Context, all *joined) {
	a.turn <- struct{}{}
	a.settled(ctx)
	a.mu.Lock()
	if a.open == all {
		a.open = nil
	}
	a.mu.Unlock()
	defer func() { <-a.turn }()
	defer close(all.done)
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	err := a.events.AppendEvents(ctx, all.events)
	for _, p := range all.parts {
		p.err = err
		if fault.Is(err, fault.Invalid) && len(all.parts) > 1 { // one of them is to blame: find out which
			p.err = a.events.AppendEvents(ctx, p.events)
		}
	}
}
