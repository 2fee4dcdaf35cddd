package gitrepo_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/shared/fault"
)

// A connection is kept though the end of an answer comes after all that it says.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	var mu sync.Mutex
	callers := map[string]bool{}
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		mu.Lock()
		callers[req.RemoteAddr] = true
		mu.Unlock()
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, req)
		w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
		_, _ = w.Write(answer.Body.Bytes())
		_ = http.NewResponseController(w).Flush()
		<-time.After(20 * time.Millisecond)
	})
	for _, content := range []string{"2\n", "3\n"} {
		if err := r.Push(t.Context(), []gitrepo.RefUpdate{edit(t, r, content)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.FetchRef(t.Context(), mainRef); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(callers) != 1 {
		t.Errorf("%d connections, want 1: %v", len(callers), callers)
	}
}

// endless is the rest of an answer that does not end.
type endless struct {
	closed chan struct{}
	read   int
	silent bool
	once   sync.Once
}

func (e *endless) Read(p []byte) (int, error) {
	if e.silent {
		<-e.closed
		return 0, errors.New("closed")
	}
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

func TestFinishEnds(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			body := &endless{closed: make(chan struct{}), silent: silent}
			began := time.Now()
			gitrepo.Finish(&http.Response{Body: body})
			<-body.closed
			if took := time.Since(began); body.read > gitrepo.MaxRest || took > gitrepo.RestTimeout {
				t.Errorf("silent %t: read %d bytes in %s", silent, body.read, took)
			}
		})
	}
}

// line is a connection that can be broken without its other end noticing.
type line struct {
	net.Conn

	broken *atomic.Bool
}

func (l line) Write(p []byte) (int, error) {
	if l.broken.Load() {
		return 0, syscall.ECONNRESET
	}
	return l.Conn.Write(p)
}

// A kept connection that is dead costs nothing: what it never carried goes another way.
func TestDeadConnections(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		refuses bool // further connections, to us
		want    []string
	}{
		"AnotherOne": {want: []string{sent}},
		"NoneIsToBeHad": {refuses: true, want: []string{
			"git GET info/refs?service=git-receive-pack", "git POST git-receive-pack",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := seeded(t, map[string]string{"a": "1\n"})
			r := fetched(t, s)
			var first atomic.Bool
			dials := 0
			r.DialWith(func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials++; dials > 1 && tc.refuses {
					return nil, syscall.ECONNREFUSED
				}
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				if dials > 1 {
					return conn, err
				}
				return line{conn, &first}, err
			})
			if err := r.FetchRef(t.Context(), mainRef); err != nil {
				t.Fatal(err)
			}
			update := edit(t, r, "2\n")
			asked := watch(s)
			first.Store(true)
			if err := r.Push(t.Context(), []gitrepo.RefUpdate{update}); err != nil {
				t.Fatalf("Push: %v", err)
			}
			asked.want(t, tc.want...)
			if got := remoteTip(t, r, mainRef); got != update.New {
				t.Errorf("the host has %s, want %s", got, update.New)
			}
		})
	}
}

// A push of which the host got nothing has an outcome that is known.
func TestNothingWasSent(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	update := edit(t, r, "2\n")
	const short = 100 * time.Millisecond
	s.Intercept(gitrepotest.Stall)
	r.PushWithin(short)
	push := func(ctx context.Context, cause error) {
		t.Helper()
		err := r.Push(ctx, []gitrepo.RefUpdate{update})
		if !fault.Is(err, fault.Unavailable) || errors.Is(err, gitrepo.ErrOutcomeUnknown) || !errors.Is(err, cause) {
			t.Errorf("Push: %v, want that nothing was sent: %v", err, cause)
		}
	}
	push(t.Context(), context.DeadlineExceeded)
	r.PushWithin(time.Minute)
	stopped, cancel := context.WithCancel(t.Context())
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		cancel()
		gitrepotest.Stall(w, req, next)
	})
	push(stopped, context.Canceled)

	// The same, when the host said just before where the ref is, and only the push itself was to be sent.
	s.Intercept(nil)
	if err := r.FetchRef(t.Context(), mainRef); err != nil {
		t.Fatal(err)
	}
	r.DialWith(func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	r.PushWithin(short)
	push(t.Context(), context.DeadlineExceeded)
}

// What one branch costs is seen beside what all of them do.
func TestFetchRefIsCounted(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n"})
	counts := newCounts()
	r := fetched(t, s, func(cfg *gitrepo.Config) { cfg.Metrics = counts.registry })
	if err := r.FetchRef(t.Context(), mainRef); err != nil {
		t.Fatal(err)
	}
	gitrepotest.Git(t, c.Dir, "checkout", "--quiet", "--orphan", "anew")
	c.Commit("anew")
	gitrepotest.Git(t, c.Dir, "push", "--quiet", "--force", "origin", "HEAD:main")
	if err := r.FetchRef(t.Context(), mainRef); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"fetch done": 2, "fetch-ref done": 1, "fetch-ref failed": 1, "ls-remote done": 1}
	if diff := cmp.Diff(want, counts.commands(t)); diff != "" {
		t.Errorf("commands: -want, +got:\n%s", diff)
	}
}

// counts are metrics of a mirror.
type counts struct{ registry *prometheus.Registry }

func newCounts() counts { return counts{prometheus.NewRegistry()} }

// commands are how often commands ended in which way, but for never.
func (c counts) commands(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := c.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	ended := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "tandem_automator_git_commands_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			if n := metric.GetCounter().GetValue(); n > 0 { // labels come in order of their names
				ended[metric.GetLabel()[0].GetValue()+" "+metric.GetLabel()[1].GetValue()] = n
			}
		}
	}
	return ended
}
