package relay

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

const (
	// maxIntake bounds the events of a stream that were read and are not being stored; it is the window of the protocol.
	maxIntake = 256
	// maxIntakeBytes bounds their bytes.
	maxIntakeBytes = 1 << 20
)

// eventKeeper is where events go.
type eventKeeper interface {
	// allow waits until at least one event may be stored, and returns how many of a number may be.
	allow(ctx context.Context, events int) (int, error)
	// store returns when events are stored for good and acknowledged.
	store(ctx context.Context, events []*statusv1.Event) error
	// broken is called with why events could not be stored.
	broken(err error)
}

// intake stores the events of one Report stream while the stream is read on: status needs no disk and does not wait behind
// them, and what arrives while a transaction runs is the next one. It has a goroutine only while events wait.
type intake struct {
	keeper  eventKeeper
	workers sync.WaitGroup

	mu      sync.Mutex
	waiting []*statusv1.Event
	bytes   int // of waiting
	working bool
	err     error         // why an event could not be stored; no further ones are
	room    chan struct{} // told when waiting became less
}

func newIntake(to eventKeeper) *intake { return &intake{keeper: to, room: make(chan struct{}, 1)} }

// take has an event stored, and waits only while too many wait. Its context MUST be the same for all events of an intake. An
// error is that of an event before.
func (in *intake) take(ctx context.Context, event *statusv1.Event) error {
	for {
		taken, err := in.add(ctx, event)
		if taken || err != nil {
			return err
		}
		select {
		case <-in.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// add reports whether there was room for an event.
func (in *intake) add(ctx context.Context, event *statusv1.Event) (bool, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	size := proto.Size(event)
	if in.err != nil {
		return false, in.err
	}
	if len(in.waiting) >= maxIntake || in.bytes+size > maxIntakeBytes {
		return false, nil
	}
	in.waiting, in.bytes = append(in.waiting, event), in.bytes+size
	if !in.working {
		in.working = true
		in.workers.Go(func() { in.work(ctx) })
	}
	return true, nil
}

// end waits until no event is being stored, and returns why one could not be.
func (in *intake) end() error {
	in.workers.Wait()
	return in.err
}

// work stores what waits until nothing does.
func (in *intake) work(ctx context.Context) {
	for count := in.count(); count > 0; count = in.count() {
		count, err := in.keeper.allow(ctx, count)
		if err == nil {
			err = in.put(ctx, in.next(count))
		}
		if err != nil {
			in.fail(err)
			return
		}
	}
}

// put stores events together, and each by itself when one of them is wrong: those before it are good.
func (in *intake) put(ctx context.Context, events []*statusv1.Event) error {
	err := in.keeper.store(ctx, events)
	if len(events) == 1 || !fault.Is(err, fault.Invalid) {
		return err
	}
	for i := range events {
		if err := in.keeper.store(ctx, events[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// count is how many events wait. With none the work ends.
func (in *intake) count() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.working = len(in.waiting) > 0
	return len(in.waiting)
}

// next takes events away, the oldest first.
func (in *intake) next(count int) []*statusv1.Event {
	in.mu.Lock()
	defer in.mu.Unlock()
	events := in.waiting[:count:count]
	in.waiting = in.waiting[count:]
	for _, event := range events {
		in.bytes -= proto.Size(event)
	}
	if len(in.waiting) == 0 {
		in.waiting = nil // thousands of streams rest
	}
	select {
	case in.room <- struct{}{}:
	default:
	}
	return events
}

// fail ends the work for good.
func (in *intake) fail(err error) {
	in.mu.Lock()
	in.err, in.waiting, in.bytes = err, nil, 0
	in.mu.Unlock()
	select {
	case in.room <- struct{}{}:
	default:
	}
	in.keeper.broken(err)
}
