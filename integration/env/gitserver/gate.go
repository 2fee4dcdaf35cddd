package gitserver

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// Gate stands in the way of a push to a repository, named as in URL without
// its .git. It may block; its context ends when the client is gone or the
// server stops, and its answer counts for nothing then.
type Gate func(ctx context.Context, repo string) error

// RefusedError is the error of a gate that answers with an HTTP status of its
// choice. Any other error is answered with 403.
type RefusedError struct {
	Status int
	Header http.Header
}

func (e *RefusedError) Error() string { return fmt.Sprintf("refused with status %d", e.Status) }

// gates may be replaced while pushes are under way.
type gates struct {
	mu            sync.Mutex
	before, after Gate
}

// BeforePush asks the gate before a push is given to git, which has then told
// the client its refs and nothing more. An error refuses the push. Nil takes
// the gate away.
func (s *Server) BeforePush(gate Gate) {
	s.gates.mu.Lock()
	defer s.gates.mu.Unlock()
	s.gates.before = gate
}

// AfterPush asks the gate after git has accepted a push and before its client
// hears of it. An error cuts the connection without an answer. Nil takes the
// gate away.
func (s *Server) AfterPush(gate Gate) {
	s.gates.mu.Lock()
	defer s.gates.mu.Unlock()
	s.gates.after = gate
}

func (g *gates) askBefore(ctx context.Context, repo string) error {
	g.mu.Lock()
	gate := g.before
	g.mu.Unlock()
	return ask(ctx, gate, repo)
}

func (g *gates) askAfter(ctx context.Context, repo string) error {
	g.mu.Lock()
	gate := g.after
	g.mu.Unlock()
	return ask(ctx, gate, repo)
}

func ask(ctx context.Context, gate Gate, repo string) error {
	if gate == nil {
		return nil
	}
	if err := gate(ctx, repo); err != nil {
		return err
	}
	return ctx.Err()
}
