package registry

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is what becomes of some requests instead of their answer.
type Fault struct {
	// Match chooses the requests; nil chooses all. Credentials have not been
	// checked yet.
	Match func(*http.Request) bool
	// Times is how many requests it takes; 0 is all until Remove.
	Times int
	// Hold keeps the request until the channel is closed or the client goes.
	Hold <-chan struct{}
	// Status answers the request; 0 passes it on to the registry.
	Status int
	// Answer answers the request instead of the registry and Status.
	Answer http.Handler
	// RetryAfter, in whole seconds, goes with the answer.
	RetryAfter time.Duration
	// Header goes with the answer, or with the registry's own.
	Header http.Header
}

// Injection is a fault at work.
type Injection struct {
	Fault

	faults *faults
	hits   int // guarded by faults.mu
}

// Inject puts a fault in the way of requests. Where several match one, the
// first injected takes it.
func (r *Registry) Inject(fault Fault) *Injection {
	injection := &Injection{Fault: fault, faults: &r.faults}
	r.faults.mu.Lock()
	defer r.faults.mu.Unlock()
	r.faults.active = append(r.faults.active, injection)
	return injection
}

// Hits is how many requests the fault has taken.
func (i *Injection) Hits() int {
	i.faults.mu.Lock()
	defer i.faults.mu.Unlock()
	return i.hits
}

// Remove ends the fault; requests it holds stay held until Hold is closed.
func (i *Injection) Remove() {
	i.faults.mu.Lock()
	defer i.faults.mu.Unlock()
	i.faults.active = slices.DeleteFunc(i.faults.active, func(other *Injection) bool { return other == i })
}

// To matches requests of a method, or any where it is empty, whose path has
// the given end, such as /team/app/tags/list.
func To(method, pathEnd string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return (method == "" || r.Method == method) && strings.HasSuffix(r.URL.Path, pathEnd)
	}
}

type faults struct {
	mu     sync.Mutex
	active []*Injection
}

func (f *faults) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault, found := f.take(r)
		if found && !fault.serve(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// take counts the request against the first fault that wants it. Match runs
// under the lock, so it is never asked twice at once.
func (f *faults) take(r *http.Request) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, injection := range f.active {
		spent := injection.Times > 0 && injection.hits >= injection.Times
		if spent || (injection.Match != nil && !injection.Match(r)) {
			continue
		}
		injection.hits++
		return injection.Fault, true
	}
	return Fault{}, false
}

// serve reports whether the request goes on to the registry.
func (f Fault) serve(w http.ResponseWriter, r *http.Request) (pass bool) {
	if f.Hold != nil {
		select {
		case <-f.Hold:
		case <-r.Context().Done():
			return false
		}
	}
	maps.Copy(w.Header(), f.Header)
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	if f.Answer != nil {
		f.Answer.ServeHTTP(w, r)
		return false
	}
	if f.Status == 0 {
		return true
	}
	http.Error(w, cmp.Or(http.StatusText(f.Status), "fault"), f.Status)
	return false
}
