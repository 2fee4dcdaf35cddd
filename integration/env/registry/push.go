package registry

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Pushed is an image the registry has.
type Pushed struct {
	// Repository is the full name, the registry's address included.
	Repository string
	Tag        string
	// Digest is of the manifest, or of the index of several platforms.
	Digest string
	// At is when the registry's acknowledgement of the tag's manifest arrived.
	// Its notification may be on its way a little before.
	At time.Time
}

// Reference is repository:tag@digest, which names both what was asked for and
// what was found.
func (p Pushed) Reference() string { return p.Repository + ":" + p.Tag + "@" + p.Digest }

// Push makes an image and pushes it under a tag.
func (r *Registry) Push(ctx context.Context, repo, tag string, image Image) (Pushed, error) {
	ref, err := r.reference(repo, tag)
	if err != nil {
		return Pushed{}, err
	}
	watch := &acknowledgement{next: r.transport, path: "/manifests/" + tag}
	content, err := image.build()
	if err == nil {
		err = content.write(ref, r.remoteOptions(ctx, watch)...)
	}
	if err != nil {
		return Pushed{}, fmt.Errorf("push %s: %w", ref, err)
	}
	digest, err := content.Digest()
	if err != nil {
		return Pushed{}, err
	}
	return Pushed{Repository: r.Repository(repo), Tag: tag, Digest: digest.String(), At: watch.time()}, nil
}

// Delete removes a tag, or by its digest a manifest with all its tags.
func (r *Registry) Delete(ctx context.Context, repo, reference string) error {
	ref, err := r.reference(repo, reference)
	if err != nil {
		return err
	}
	return remote.Delete(ref, r.remoteOptions(ctx, r.transport)...)
}

// Resolve returns the digest of a full image reference, by a HEAD request.
func (r *Registry) Resolve(ctx context.Context, reference string) (digest string, err error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return "", err
	}
	found, err := remote.Head(ref, r.remoteOptions(ctx, r.transport)...)
	if err != nil {
		return "", err
	}
	return found.Digest.String(), nil
}

// reference is repo:tag, or repo@digest for a digest.
func (r *Registry) reference(repo, reference string) (name.Reference, error) {
	separator := ":"
	if _, err := v1.NewHash(reference); err == nil {
		separator = "@"
	}
	return name.ParseReference(r.Repository(repo) + separator + reference)
}

func (r *Registry) remoteOptions(ctx context.Context, transport http.RoundTripper) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithTransport(transport), remote.WithAuth(r.credentials())}
}

// acknowledgement notes when the answer to a PUT of a path arrives.
type acknowledgement struct {
	next http.RoundTripper
	path string

	mu sync.Mutex
	at time.Time
}

// RoundTrip implements http.RoundTripper.
func (a *acknowledgement) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := a.next.RoundTrip(request)
	if request.Method == http.MethodPut && strings.HasSuffix(request.URL.Path, a.path) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.at = time.Now()
	}
	return response, err
}

func (a *acknowledgement) time() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at
}
