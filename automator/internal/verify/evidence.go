package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/signature"
)

// Limits on what clusters may have registries asked.
const (
	// askedEvery is how often a registry is asked about one image, for all clusters together.
	askedEvery = 2 * time.Second
	// maxAsked bounds the images whose last question is remembered; beyond it clusters are told to come back.
	maxAsked = 10_000
	// askTimeout bounds an answer of a registry, and placeTimeout the wait for a place before. There are perHost places at each
	// registry, none of them shared with another: one that does not answer keeps nobody from the others.
	askTimeout   = 15 * time.Second
	placeTimeout = 15 * time.Second
)

// Reader reads what registries have about the signatures of images.
type Reader interface {
	Signatures(ctx context.Context, repository, digest string) (signature.Material, error)
}

// Keeper keeps what registries have about the signatures of images.
type Keeper interface {
	// Signatures returns what is kept; found is false for nothing.
	Signatures(ctx context.Context, repository, digest string) (m signature.Material, found bool, err error)
	// PutSignatures keeps it, and forgets what was kept if there are no signatures.
	PutSignatures(ctx context.Context, repository, digest string, m signature.Material) error
}

// Evidence is what registries have about the signatures of images, kept for clusters that check them themselves. It is safe for
// concurrent use.
type Evidence struct {
	registry Reader
	keeper   Keeper
	log      *zap.Logger
	flights  singleflight.Group

	mu    sync.Mutex
	asked map[signature.Image]question
	hosts map[string]*places
}

// question is when a registry was asked about an image last, and why it did not answer.
type question struct {
	at  time.Time
	err error
}

// places are those at one registry.
type places struct {
	*semaphore.Weighted

	users int // who have one or wait for one
}

// NewEvidence returns evidence that asks a registry for what is not kept.
func NewEvidence(registry Reader, keeper Keeper, log *zap.Logger) *Evidence {
	return &Evidence{registry: registry, keeper: keeper, log: log, asked: map[signature.Image]question{}, hosts: map[string]*places{}}
}

// Signatures asks the registry, and keeps what it has: nothing, if it lost what it had.
func (e *Evidence) Signatures(ctx context.Context, repository, digest string) (signature.Material, error) {
	m, err := e.registry.Signatures(ctx, repository, digest)
	if err != nil {
		return m, err
	}
	kept, found, err := e.keeper.Signatures(ctx, repository, digest)
	same := found && bytes.Equal(versionOf(kept), versionOf(m.Relayed()))
	if err == nil && (same || !found && len(m.Items) == 0) {
		return m, nil
	}
	if err := e.keeper.PutSignatures(ctx, repository, digest, m); err != nil && ctx.Err() == nil {
		e.log.Warn("signatures not kept", zap.Error(err)) // whoever wants them asks the registry
	}
	return m, nil
}

// For returns what is known about the signatures of an image, and a version of that. The registry is asked when nothing but the version
// that was seen is kept, though not more often than now and then; when it does not answer, what is kept has to do.
func (e *Evidence) For(ctx context.Context, image signature.Image, seen []byte) (signature.Material, []byte, error) {
	kept, found, err := e.keeper.Signatures(ctx, image.Repository, image.Digest)
	if err != nil {
		return signature.Material{}, nil, err
	}
	version := versionOf(kept)
	if found && !bytes.Equal(version, seen) {
		return kept, version, nil
	}
	fresh, asked, err := e.ask(ctx, image)
	switch {
	case asked && err == nil:
		return fresh, versionOf(fresh), nil
	case found || err == nil:
		return kept, version, nil // that is true, whether or not there is more
	default:
		return signature.Material{}, nil, err
	}
}

// ask asks the registry about an image, unless it was asked a moment ago: then err is what came of that. Those who ask at the same
// time get one answer.
func (e *Evidence) ask(ctx context.Context, image signature.Image) (m signature.Material, asked bool, err error) {
	got, err, _ := e.flights.Do(image.Repository+"@"+image.Digest, func() (any, error) {
		if last := e.recently(image, time.Now()); last != nil {
			return nil, last.err
		}
		ctx := context.WithoutCancel(ctx) // others wait for it, too
		leave, err := e.enter(ctx, key{repository: image.Repository}.host())
		if err != nil {
			return nil, err
		}
		defer leave()
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		m, err := e.Signatures(ctx, image.Repository, image.Digest)
		if err != nil {
			err = fault.New(fault.Stale, "it cannot be told who has signed it: %w", err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.asked[image] = question{at: time.Now(), err: err}
		return m.Relayed(), err
	})
	m, asked = got.(signature.Material)
	return m, asked, err
}

// enter waits for a place at a registry. What it returns gives it back.
func (e *Evidence) enter(ctx context.Context, host string) (leave func(), err error) {
	at := e.join(host)
	ctx, cancel := context.WithTimeout(ctx, placeTimeout)
	defer cancel()
	if err := at.Acquire(ctx, 1); err != nil {
		e.quit(host, at)
		return nil, fault.New(fault.Conflict, "%s is asked about %d other images, which takes long", host, perHost)
	}
	return func() { at.Release(1); e.quit(host, at) }, nil
}

func (e *Evidence) join(host string) *places {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hosts[host] == nil {
		e.hosts[host] = &places{Weighted: semaphore.NewWeighted(perHost)}
	}
	e.hosts[host].users++
	return e.hosts[host]
}

func (e *Evidence) quit(host string, at *places) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if at.users--; at.users == 0 {
		delete(e.hosts, host)
	}
}

// recently returns what came of asking about an image a moment ago; nil if nobody did.
func (e *Evidence) recently(image signature.Image, now time.Time) *question {
	e.mu.Lock()
	defer e.mu.Unlock()
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

// versionOf tells what is known of an image's signatures from what else may be.
func versionOf(m signature.Material) []byte {
	text, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("texts do not marshal: %v", err))
	}
	sum := sha256.Sum256(text)
	return sum[:]
}
