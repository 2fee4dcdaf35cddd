package story

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var errNoAPI = errors.New(`this story's commits are pushed: its file "world" needs a line "commits api"`)

// hold keeps who comes, until it ends. The zero value keeps nobody.
type hold struct{ come, over chan struct{} }

func newHold() hold { return hold{come: make(chan struct{}, 1), over: make(chan struct{})} }

func (h hold) keep(ctx context.Context) {
	select {
	case h.come <- struct{}{}:
	default:
	}
	select {
	case <-h.over:
	case <-ctx.Done():
	}
}

// first waits until somebody is kept.
func (h hold) first() error {
	select {
	case <-h.come:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("nobody came within %s", patience)
	}
}

func (h *hold) end() {
	if h.over != nil {
		close(h.over)
	}
	*h = hold{}
}

// holdAPI pushes an image and waits until its commit by API is kept: before it is made, with the answer, or when Git fetches
// what was made and answered.
func holdAPI(s *Teller, ts *testscript.TestScript, args []string) error {
	held, fake := newHold(), s.World.GitHub
	if fake == nil {
		return errNoAPI
	}
	s.hold = held
	switch args[0] {
	case "before":
		fake.Intercept(func(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
			held.keep(r.Context())
			answer(w, r)
		})
	case "after":
		fake.Intercept(func(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
			made := httptest.NewRecorder()
			answer(made, r)
			held.keep(r.Context())
			maps.Copy(w.Header(), made.Header())
			w.WriteHeader(made.Code)
			_, _ = w.Write(made.Body.Bytes()) // who was killed hears nothing
		})
	case "fetch":
		var made atomic.Bool
		fake.Intercept(func(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
			answer(w, r)
			made.Store(true)
		})
		fake.InterceptGit(func(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
			if made.Load() {
				held.keep(r.Context())
			}
			answer(w, r)
		})
	default:
		return fmt.Errorf("hold-api %s: not one of before, after, fetch", args[0])
	}
	if err := push(s, ts, args[1:]); err != nil {
		return err
	}
	return held.first()
}

// passAPI lets requests to the fake GitHub through again.
func passAPI(s *Teller, _ *testscript.TestScript, _ []string) error {
	if s.World.GitHub == nil {
		return errNoAPI
	}
	s.World.GitHub.Intercept(nil)
	s.World.GitHub.InterceptGit(nil)
	s.hold.end()
	return nil
}
