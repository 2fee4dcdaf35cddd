package verify

import (
	"context"
	"maps"
	"time"

	"golang.org/x/time/rate"

	"github.com/tandem-cd/tandem/shared/fair"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/signature"
)

// Limits on what clusters may have registries asked.
const (
	// askedEvery is how often a registry is asked about one image, for all clusters together.
	askedEvery = 2 * time.Second
	// maxAsked bounds the images whose last question is remembered; beyond it clusters are told to come back.
	maxAsked = 10_000
	// askTimeout bounds an answer of a registry, and placeTimeout the wait for a place before.
	askTimeout   = 15 * time.Second
	placeTimeout = 15 * time.Second
	// hostPlaces are the places at each registry, none of them shared with another: one that does not answer keeps nobody from the
	// others. A cluster has clusterPlaces of them at most, and the last newcomerPlaces are for clusters that have none.
	hostPlaces, clusterPlaces, newcomerPlaces = 4, 2, 1
	// unnamedRate and unnamedBurst bound the digests a second that a registry is asked about for one cluster although neither Git nor
	// a tag names them, nor anything is kept of them: anybody can make them up.
	unnamedRate, unnamedBurst = 1, 100
)

// question is when a registry was asked about an image last, and why it did not answer.
type question struct {
	at  time.Time
	err error
}

// asker is a cluster that wants to know about an image.
type asker struct {
	cluster string
	image   signature.Image
	known   bool // something is kept of it
}

// flight is one question to a registry, for everybody who wants to know at that time. Each of them waits for a place in the turn of
// its own cluster, and the first place that comes is taken for all.
type flight struct {
	users int             // who wait for it
	begun context.Context //nolint:containedctx // ends every wait for a place
	begin context.CancelFunc
	done  chan struct{} // closed when there is an answer

	material signature.Material
	err      error
}

// places are those at one registry, by cluster.
type places struct {
	*fair.Limiter

	users int // who have one or wait for one
}

// ask asks the registry about an image, unless it was asked a moment ago: then err is what came of that.
func (e *Evidence) ask(ctx context.Context, a asker) (m signature.Material, asked bool, err error) {
	f, err := e.join(a.image, time.Now())
	if f == nil {
		return m, false, err
	}
	defer e.quit(a.image, f)
	if f.begun.Err() == nil && !e.affords(a) {
		return m, false, fault.New(fault.Conflict, "cluster %q asks about more than %d digests a second that neither Git nor a tag names", a.cluster, unnamedRate)
	}
	leave, err := e.enter(ctx, a, f)
	switch {
	case err == nil:
		e.fly(ctx, a.image, f, leave)
	case f.begun.Err() == nil:
		return m, false, err
	}
	select {
	case <-f.done:
		return f.material, true, f.err
	case <-ctx.Done():
		return m, false, ctx.Err()
	}
}

// join returns the flight that asks about an image, a new one if there is none; nil if the registry was asked a moment ago, and what
// came of that.
func (e *Evidence) join(image signature.Image, now time.Time) (*flight, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.flights[image]
	if f == nil {
		if last := e.recently(image, now); last != nil {
			return nil, last.err
		}
		f = &flight{done: make(chan struct{})}
		f.begun, f.begin = context.WithCancel(context.Background()) //nolint:forbidigo // it carries nothing, and quit ends it
		e.flights[image] = f
	}
	f.users++
	return f, nil
}

// quit waits no longer for a flight. One that nobody waits for is none.
func (e *Evidence) quit(image signature.Image, f *flight) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.users--; f.users > 0 {
		return
	}
	f.begin()
	if e.flights[image] == f {
		delete(e.flights, image)
	}
}

// affords reports whether a registry may be asked for a cluster: always about a digest that others know, too, and about the rest as far
// as its budget goes.
func (e *Evidence) affords(a asker) bool {
	if a.known || e.from.Named(a.image) {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.unnamed[a.cluster] == nil {
		e.unnamed[a.cluster] = rate.NewLimiter(unnamedRate, unnamedBurst)
	}
	return e.unnamed[a.cluster].Allow()
}

// enter waits for a place at the registry, unless the flight begins in somebody else's, which is an error, too. leave gives it back.
func (e *Evidence) enter(ctx context.Context, a asker, f *flight) (leave func(), err error) {
	host := key{repository: a.image.Repository}.host()
	at := e.arrive(host)
	ctx, cancel := context.WithTimeout(ctx, placeTimeout)
	defer cancel()
	defer context.AfterFunc(f.begun, cancel)() //nolint:contextcheck // it ends the wait, which has the context of who waits
	if err := at.Acquire(ctx, a.cluster); err != nil {
		e.depart(host, at)
		return nil, fault.New(fault.Conflict, "%s is asked about other images, for cluster %q or for others, which takes long", host, a.cluster)
	}
	return func() { at.Release(a.cluster); e.depart(host, at) }, nil
}

// takeOff has a flight begin, and reports whether it had not.
func (e *Evidence) takeOff(f *flight) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	first := f.begun.Err() == nil
	f.begin()
	return first
}

// fly asks the registry, unless the flight has begun already, and gives its place back.
func (e *Evidence) fly(ctx context.Context, image signature.Image, f *flight, leave func()) {
	defer leave()
	if !e.takeOff(f) {
		return
	}
	defer close(f.done)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout) // others wait for it, too
	defer cancel()
	m, err := e.Signatures(ctx, image.Repository, image.Digest)
	if err != nil {
		err = fault.New(fault.Stale, "it cannot be told who has signed it: %w", err)
	}
	f.material, f.err = m.Relayed(), err
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked[image] = question{at: time.Now(), err: err}
	delete(e.flights, image)
}

func (e *Evidence) arrive(host string) *places {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hosts[host] == nil {
		e.hosts[host] = &places{Limiter: fair.NewLimiter(hostPlaces, clusterPlaces, newcomerPlaces)}
	}
	e.hosts[host].users++
	return e.hosts[host]
}

func (e *Evidence) depart(host string, at *places) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if at.users--; at.users == 0 {
		delete(e.hosts, host)
	}
}

// recently returns what came of asking about an image a moment ago; nil if nobody did.
func (e *Evidence) recently(image signature.Image, now time.Time) *question {
	if last, found := e.asked[image]; found && now.Sub(last.at) < askedEvery {
		return &last
	}
	if len(e.asked) >= maxAsked {
		maps.DeleteFunc(e.asked, func(_ signature.Image, q question) bool { return now.Sub(q.at) >= askedEvery })
	}
	if len(e.asked) >= maxAsked {
		return &question{err: fault.New(fault.Conflict, "registries are asked about %d images already", maxAsked)}
	}
	return nil
}
