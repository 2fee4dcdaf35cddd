// Package evidence finds out whether images are signed as this cluster's administrator demands.
//
// The automator brings what registries have about signatures, by digest, and is believed nothing: what it brings is checked here, by
// package signed. It can withhold, and what is withheld counts as not signed. What was found to be signed stays so, since a digest
// and the rules are all that a verdict depends on: no image is asked about twice, and an automator that is away is in nobody's way
// who heals what already runs. Over a restart the signatures themselves are kept, and checked again.
package evidence

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/synchronizer/internal/signed"
)

// Limits.
const (
	// concurrency is how many images of one Sync are asked about at a time.
	concurrency = 8
	// maxKnown bounds the images whose verdicts are remembered; beyond it some are found out again.
	maxKnown = 20_000
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

// Checker knows which images are signed. It is safe for concurrent use.
type Checker struct {
	deps    Deps
	folder  folder
	metrics *metrics

	mu    sync.Mutex
	known map[signature.Image]*known
}

// known is what is known of an image.
type known struct {
	running chan struct{} // closed when the check that runs has ended; nil when none does
	signed  bool
	reason  string // why it is not
	seen    []byte // the version of what was not enough
	attempt int
	next    time.Time // when it is asked about again
}

// New returns a checker that knows nothing yet.
func New(deps Deps) *Checker {
	return &Checker{deps: deps, folder: folder{deps.Dir}, metrics: newMetrics(deps.Metrics), known: map[signature.Image]*known{}}
}

// Check returns, by the index of each object, why its images may not run; nil if they may. Of what is not known yet the automator is
// asked, until ctx is done. after is when the answer may be another one; 0 if time changes nothing.
func (c *Checker) Check(ctx context.Context, objects []*unstructured.Unstructured) (refusals []error, after time.Duration) {
	refusals = make([]error, len(objects))
	images := make([][]signature.Image, len(objects))
	var group errgroup.Group
	group.SetLimit(concurrency)
	asked := map[signature.Image]bool{}
	for i, object := range objects {
		images[i], refusals[i] = c.deps.Policy.Images(object)
		for _, image := range images[i] {
			if !asked[image] {
				asked[image] = true
				group.Go(func() error { c.settle(ctx, image); return nil })
			}
		}
	}
	_ = group.Wait() // none returns an error
	now := time.Now()
	for i := range objects {
		for _, image := range images[i] {
			reason, next := c.verdict(image)
			if reason == "" {
				continue
			}
			if refusals[i] == nil {
				refusals[i] = fmt.Errorf("%s@%s is not signed as this cluster demands: %s", image.Repository, image.Digest, reason)
			}
			if wait := max(next.Sub(now), time.Millisecond); after == 0 || wait < after {
				after = wait
			}
		}
	}
	return refusals, after
}

// Hurry has the next Check ask about the images of objects that are not signed, although their time has not come.
func (c *Checker) Hurry(objects []*unstructured.Unstructured) {
	for _, object := range objects {
		images, err := c.deps.Policy.Images(object)
		if err != nil {
			continue // no answer will change that
		}
		c.mu.Lock()
		for _, image := range images {
			if k := c.known[image]; k != nil {
				k.next = time.Time{}
			}
		}
		c.mu.Unlock()
	}
}

// verdict returns why an image is not signed, and when that is found out anew; empty if it is.
func (c *Checker) verdict(image signature.Image) (reason string, next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.known[image]
	switch {
	case k == nil: // somebody else's ask was given up, or there was no room
		return "nobody knows yet", time.Time{}
	case k.signed:
		return "", time.Time{}
	default:
		return k.reason, k.next
	}
}

// settle returns once it is known whether an image is signed, or ctx is done. Several who want to know wait for one answer.
func (c *Checker) settle(ctx context.Context, image signature.Image) {
	for {
		k, running := c.begin(image)
		if k == nil {
			return
		}
		if running == nil {
			c.check(ctx, image, k)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-running: // who ran it may have given up
		}
	}
}

// begin takes the check of an image; k is nil if there is nothing to check now, and running is closed when another one's ends.
func (c *Checker) begin(image signature.Image) (k *known, running chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k = c.known[image]
	switch {
	case k == nil:
		c.makeRoom()
		k = &known{}
		c.known[image] = k
	case k.running != nil:
		return k, k.running
	case k.signed || k.attempt > 0 && time.Now().Before(k.next):
		return nil, nil
	}
	k.running = make(chan struct{})
	return k, nil
}

// makeRoom forgets one verdict when there are too many.
func (c *Checker) makeRoom() {
	if len(c.known) < maxKnown {
		return
	}
	for image, k := range c.known {
		if k.running == nil {
			delete(c.known, image)
			return
		}
	}
}

// check finds out whether an image is signed.
func (c *Checker) check(ctx context.Context, image signature.Image, k *known) {
	outcome, err := c.outcome(ctx, image, k.seen, k.attempt == 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(k.running)
	k.running = nil
	switch {
	case outcome.signed:
		k.signed, k.reason, k.seen = true, "", nil
		c.metrics.checked("signed")
		return
	case err != nil && ctx.Err() != nil:
		if k.attempt == 0 {
			delete(c.known, image) // we gave up: that says nothing about the image
		}
		return
	case err != nil:
		k.reason = fmt.Sprintf("its signatures could not be had from the automator, which is tried again: %v", err)
		c.metrics.checked("unavailable")
	default:
		k.reason, k.seen = outcome.reason, outcome.version
		c.metrics.checked("unsigned")
	}
	k.next = time.Now().Add(again().Delay(k.attempt))
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
