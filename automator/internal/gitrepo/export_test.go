package gitrepo

import (
	"context"
	"net"
	"net/http"
	"time"
)

// ReaderPID is the pooled process, for tests that kill it.
func (r *Repo) ReaderPID() int { return r.objects.process.cmd.Process.Pid }

// GitDir is where the mirror lies.
func (r *Repo) GitDir() string { return r.gitDir() }

// Rested notes that a fetch ended which began at a time.
func (r *Repo) Rested(began time.Time) { r.rested(began) }

// MaxRest and RestTimeout bound Finish.
const (
	MaxRest     = maxRest
	RestTimeout = restTimeout
)

// Finish closes an answer.
func Finish(answer *http.Response) { finish(answer) }

// DialWith has connections to an http remote be made by dial.
func (r *Repo) DialWith(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	r.http.kept.CloseIdle()
	r.http.kept.With(nil).DialContext = dial
}

// PushWithin sets what bounds a push from now on.
func (r *Repo) PushWithin(timeout time.Duration) { r.cfg.PushTimeout = timeout }
