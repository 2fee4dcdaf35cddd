// Package evidence finds out whether images are signed as this cluster's administrator demands.
//
// The automator brings what registries have about signatures, by digest, and is believed nothing: what it brings is checked here, by
// package signed. It can withhold, and what is withheld counts as not signed. What was found to be signed stays so, since a digest
// and the rules are all that a verdict depends on: no image is asked about twice, and an automator that is away is in nobody's way
// who heals what already runs. Over a restart the signatures themselves are kept, and checked again.
package evidence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/printable"
	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/synchronizer/internal/signed"
)

// Limits.
const (
	// concurrency is how many images are asked about at a time, for all Syncs and previews together: an answer may take
	// signature.MaxRelayed bytes.
	concurrency = 8
	// patience is for how long an image that is asked about is waited for. The ask goes on without anybody who waits.
	patience = 3 * time.Second
	// lookAgain is when to look for an answer that was not waited for.
	lookAgain = time.Second
	// maxCause bounds what is told of why the automator did not answer, in bytes.
	maxCause = 500
	// maxKnown bounds the images whose verdicts are remembered; beyond it some are found out again.
	maxKnown = 20_000
	// maxQueued bounds what waits to be asked about, by Sync and image. Beyond it who wants what another Sync waits for has no turn of
	// its own.
	maxQueued = 50_000
)

// again is how long an image that is not signed, or of which nothing could be had, is left alone: for all Syncs together.
func again() backoff.Backoff { return backoff.Backoff{Min: 2 * time.Second, Max: 5 * time.Minute} }

// Relay is the way to the automator.
type Relay interface {
	// Signatures returns what the automator has about the signatures of an image, and a version of that. seen is the version that was
	// not enough.
	Signatures(ctx context.Context, image signature.Image, seen []byte) (signature.Material, []byte, error)
}

// Deps are what a checker works with.
type Deps struct {
	Policy *signed.Policy
	Relay  Relay
	// Dir is where the signatures of images that are signed are kept.
	Dir string
	Log *zap.Logger
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
}

// ErrUnknown is in the refusal of what may be signed: the automator has not answered.
var ErrUnknown = errors.New("whether it is signed as this cluster demands is not known yet")

// Checker knows which images are signed. It is safe for concurrent use.
type Checker struct {
	deps    Deps
	folder  folder
	metrics *metrics
	asking  sync.WaitGroup
	stopped context.Context //nolint:containedctx // asks outlive whoever wanted to know
	stop    context.CancelFunc

	mu      sync.Mutex
	known   map[signature.Image]*known
	queue   queue // of what is to be asked about
	workers int   // that ask
}

// known is what is known of an image.
type known struct {
	running chan struct{}        // closed when the check that waits or runs has ended; nil when none does
	begun   bool                 // whether that check runs
	since   map[string]time.Time // when each Sync asked for it
	signed  bool
	reason  string // why it is not
	unsure  bool   // whether it may be signed all the same, since nothing could be had
	seen    []byte // the version of what was not enough
	attempt int
	asked   time.Time // when the last check ended
	next    time.Time // when it is asked about again
}

// New returns a checker that knows nothing yet.
func New(deps Deps) *Checker {
	ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // Stop ends it
	return &Checker{deps: deps, folder: folder{deps.Dir}, metrics: newMetrics(deps.Metrics), stopped: ctx, stop: stop, known: map[signature.Image]*known{}, queue: newQueue()}
}

// Stop ends what is being asked, and returns when it has ended. Nothing is asked from then on.
func (c *Checker) Stop() {
	c.mu.Lock()
	c.stop()
	c.mu.Unlock()
	c.asking.Wait()
}

// Check returns, by the index of each object of the Sync of a label, why its images may not run; nil if they may. Of what is not known yet the
// automator is asked, in the Sync's turn, and waited for a few seconds at most, until ctx is done: what is not known then is refused
// with ErrUnknown, and asked on. after is when the answer may be another one; 0 if time changes nothing.
func (c *Checker) Check(ctx context.Context, label string, objects []*unstructured.Unstructured) (refusals []error, after time.Duration) {
	refusals = make([]error, len(objects))
	images := make([][]signature.Image, len(objects))
	var running []ask
	for i, object := range objects {
		images[i], refusals[i] = c.deps.Policy.Images(object)
		for _, image := range images[i] {
			if a := c.begin(label, image); a.done != nil {
				running = append(running, a)
			}
		}
	}
	c.await(ctx, running)
	now := time.Now()
	for i := range objects {
		for _, image := range images[i] {
			next, refusal := c.verdict(image, now)
			if refusal == nil {
				continue
			}
			if refusals[i] == nil {
				refusals[i] = fmt.Errorf("%s@%s: %w", image.Repository, image.Digest, refusal)
			}
			if wait := max(next.Sub(now), time.Millisecond); after == 0 || wait < after {
				after = wait
			}
		}
	}
	return refusals, after
}

// Hurry has images of objects that are not signed asked about soon, although their time has not come.
func (c *Checker) Hurry(objects []*unstructured.Unstructured) {
	for _, object := range objects {
		images, err := c.deps.Policy.Images(object)
		if err != nil {
			continue // no answer will change that
		}
		c.mu.Lock()
		for _, image := range images {
			if k := c.known[image]; k != nil {
				if soonest := k.asked.Add(again().Min); soonest.Before(k.next) {
					k.next = soonest
				}
			}
		}
		c.mu.Unlock()
	}
}

// verdict returns why an image may not run, nil if it may, and when that is found out anew.
func (c *Checker) verdict(image signature.Image, now time.Time) (next time.Time, refusal error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.known[image]
	switch {
	case k == nil: // there was no room, or the process ends
		return now.Add(again().Min), ErrUnknown
	case k.signed:
		return time.Time{}, nil
	case k.running != nil:
		next = now.Add(lookAgain)
	default:
		next = k.next
	}
	switch {
	case k.reason == "":
		return next, ErrUnknown
	case k.unsure:
		return next, fmt.Errorf("%w: %s", ErrUnknown, k.reason)
	default:
		return next, fmt.Errorf("it is not signed as this cluster demands: %s", k.reason)
	}
}

// ask is one that waits or runs.
type ask struct {
	done  <-chan struct{} // closed when it has ended; nil if there is nothing to ask
	since time.Time
}

// await returns once all asks have ended, nobody is patient with any of them, or ctx is done.
func (c *Checker) await(ctx context.Context, asks []ask) {
	var last time.Time
	for _, a := range asks {
		if a.since.After(last) {
			last = a.since
		}
	}
	ctx, cancel := context.WithDeadline(ctx, last.Add(patience))
	defer cancel()
	for _, a := range asks {
		select {
		case <-ctx.Done():
			return
		case <-c.stopped.Done():
			return
		case <-a.done:
		}
	}
}

// begin has an image asked about in the turn of a Sync, unless there is nothing to ask. Several who want to know get one answer, by the
// turn that comes first.
func (c *Checker) begin(label string, image signature.Image) ask {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.due(image)
	if k == nil {
		return ask{}
	}
	since, waits := k.since[label]
	if !waits && (len(k.since) == 0 || c.queue.len() < maxQueued) {
		since = time.Now()
		k.since[label] = since
		if !k.begun {
			c.enqueue(want{label, image})
		}
	}
	return ask{k.running, since}
}

// due returns what is known of an image that is being asked about or has to be; nil if there is nothing to ask.
func (c *Checker) due(image signature.Image) *known {
	k := c.known[image]
	switch {
	case c.stopped.Err() != nil:
		return nil
	case k == nil && !c.makeRoom():
		return nil
	case k == nil:
		k = &known{}
		c.known[image] = k
	case k.running != nil:
		return k
	case k.signed || time.Now().Before(k.next):
		return nil
	}
	k.running, k.begun, k.since = make(chan struct{}), false, map[string]time.Time{}
	return k
}

func (c *Checker) enqueue(w want) {
	c.queue.push(w)
	if c.workers < concurrency {
		c.workers++
		c.asking.Go(c.work)
	}
}

// makeRoom forgets one verdict when there are too many, and reports whether there is room.
func (c *Checker) makeRoom() bool {
	if len(c.known) < maxKnown {
		return true
	}
	for image, k := range c.known {
		if k.running == nil {
			delete(c.known, image)
			return true
		}
	}
	return false
}

// work checks images until none is left.
func (c *Checker) work() {
	for {
		image, k := c.take()
		if k == nil {
			return
		}
		c.check(image, k)
	}
}

// take returns the image that is next in turn; k is nil if the worker is not needed.
func (c *Checker) take() (image signature.Image, k *known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.stopped.Err() == nil && c.queue.len() > 0 {
		image = c.queue.pop().image
		if k = c.known[image]; k != nil && k.running != nil && !k.begun { // else another turn came first
			k.begun = true
			return image, k
		}
	}
	c.workers--
	return image, nil
}

// check finds out whether an image is signed.
func (c *Checker) check(image signature.Image, k *known) {
	outcome, err := c.outcome(c.stopped, image, k.seen, k.attempt == 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(k.running)
	k.running, k.since, k.asked = nil, nil, time.Now()
	switch {
	case outcome.signed:
		k.signed, k.reason, k.seen = true, "", nil
		c.metrics.checked("signed")
		return
	case err != nil:
		k.reason, k.unsure = "its signatures could not be had from the automator, which is tried again: "+quoted(err), true
		c.metrics.checked("unavailable")
	default:
		k.reason, k.unsure, k.seen = outcome.reason, false, outcome.version
		c.metrics.checked("unsigned")
	}
	k.next = k.asked.Add(again().Delay(k.attempt))
	k.attempt++
}

// outcome is what was found out about an image.
type outcome struct {
	signed  bool
	reason  string
	version []byte
}

// outcome looks at what is kept, the first time, and asks the automator.
func (c *Checker) outcome(ctx context.Context, image signature.Image, seen []byte, first bool) (outcome, error) {
	if first && c.kept(image) {
		return outcome{signed: true}, nil
	}
	material, version, err := c.deps.Relay.Signatures(ctx, image, seen)
	if err != nil {
		return outcome{}, err
	}
	reason := c.deps.Policy.Verify(image, material)
	if reason != "" {
		return outcome{reason: reason, version: version}, nil
	}
	if err := c.folder.save(image, material); err != nil {
		c.deps.Log.Warn("signatures not kept", zap.String(telemetry.Image, image.Repository), zap.Error(err)) // they are asked for after a restart
	}
	return outcome{signed: true}, nil
}

// kept reports whether an image is signed by what was kept of it.
func (c *Checker) kept(image signature.Image) bool {
	material, found := c.folder.load(image)
	return found && c.deps.Policy.Verify(image, material) == ""
}

// quoted returns the text of an error on one line, and no more of it than a person reads: the automator may have written it.
func quoted(err error) string {
	text := printable.Line(err.Error())
	if len(text) > maxCause {
		return strings.ToValidUTF8(text[:maxCause], "") + "..."
	}
	return text
}
