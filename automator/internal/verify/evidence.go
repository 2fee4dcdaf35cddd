package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/tandem-cd/tandem/shared/signature"
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

// Sources are what evidence comes from.
type Sources struct {
	Registry Reader
	Keeper   Keeper
	// Named reports whether Git or a tag names the digest of an image.
	Named func(signature.Image) bool
	Log   *zap.Logger
}

// Evidence is what registries have about the signatures of images, kept for clusters that check them themselves. It is safe for
// concurrent use.
type Evidence struct {
	from Sources

	mu      sync.Mutex
	asked   map[signature.Image]question
	flights map[signature.Image]*flight
	hosts   map[string]*places
	unnamed map[string]*rate.Limiter // by cluster; as many as there are certificates
}

// NewEvidence returns evidence that asks a registry for what is not kept.
func NewEvidence(sources Sources) *Evidence {
	return &Evidence{
		from: sources, asked: map[signature.Image]question{}, flights: map[signature.Image]*flight{},
		hosts: map[string]*places{}, unnamed: map[string]*rate.Limiter{},
	}
}

// Signatures asks the registry, and keeps what it has: nothing, if it lost what it had.
func (e *Evidence) Signatures(ctx context.Context, repository, digest string) (signature.Material, error) {
	m, err := e.from.Registry.Signatures(ctx, repository, digest)
	if err != nil {
		return m, err
	}
	kept, found, err := e.from.Keeper.Signatures(ctx, repository, digest)
	same := found && bytes.Equal(versionOf(kept), versionOf(m.Relayed()))
	if err == nil && (same || !found && len(m.Items) == 0) {
		return m, nil
	}
	if err := e.from.Keeper.PutSignatures(ctx, repository, digest, m); err != nil && ctx.Err() == nil {
		e.from.Log.Warn("signatures not kept", zap.Error(err)) // whoever wants them asks the registry
	}
	return m, nil
}

// For returns what is known about the signatures of an image to a cluster, and a version of that. The registry is asked when nothing but
// the version that was seen is kept, though not more often than now and then; when it does not answer, what is kept has to do.
func (e *Evidence) For(ctx context.Context, cluster string, image signature.Image, seen []byte) (signature.Material, []byte, error) {
	kept, found, err := e.from.Keeper.Signatures(ctx, image.Repository, image.Digest)
	if err != nil {
		return signature.Material{}, nil, err
	}
	version := versionOf(kept)
	if found && !bytes.Equal(version, seen) {
		return kept, version, nil
	}
	fresh, asked, err := e.ask(ctx, asker{cluster: cluster, image: image, known: found})
	switch {
	case asked && err == nil:
		return fresh, versionOf(fresh), nil
	case !found && err == nil: // somebody was told a moment ago, maybe after the keeper was read
		kept, _, err = e.from.Keeper.Signatures(ctx, image.Repository, image.Digest)
		return kept, versionOf(kept), err
	case found:
		return kept, version, nil // that is true, whether or not there is more
	default:
		return signature.Material{}, nil, err
	}
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
