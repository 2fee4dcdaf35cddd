package cut

import (
	"context"
	"sync"
)

// Direction is one of the two ways through the proxy.
type Direction int

// The directions.
const (
	// Up is from who dialled to the server.
	Up Direction = iota
	// Down is from the server to who dialled.
	Down

	directions
)

// gates decide what may pass. They stand for all connections together.
type gates struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	refuse  bool
	shape   Shape
	ways    [directions]way
}

type way struct {
	hold   bool
	budget int  // bytes that still pass although it holds
	waits  bool // something is held
	passed int64
}

// change changes the gates and wakes who waits for that.
func (g *gates) change(fn func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fn()
	close(g.changed)
	g.changed = make(chan struct{})
}

// allow waits until some of size bytes may pass, and says how many; none when the connection ends before.
func (g *gates) allow(to Direction, size int, ended <-chan struct{}) int {
	for {
		g.mu.Lock()
		w, changed := &g.ways[to], g.changed
		if w.hold {
			size = min(size, w.budget)
			w.budget -= size
		}
		w.passed += int64(size)
		news := size == 0 && !w.waits
		w.waits = size == 0
		g.mu.Unlock()
		if size > 0 {
			return size
		}
		if news {
			g.change(func() {})
			continue
		}
		select {
		case <-changed:
			size = 1 // ask again; the caller comes back for the rest
		case <-ended:
			return 0
		}
	}
}

// wait waits until the gates are as somebody wants them.
func (g *gates) wait(ctx context.Context, ok func() bool) error {
	for {
		g.mu.Lock()
		done, changed := ok(), g.changed
		g.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
