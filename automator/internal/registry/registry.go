// Package registry lists the tags and resolves the digests of image repositories through go-containerregistry.
//
// Registries are hostile and rate limited. Each of them gets one long-lived puller, a request budget of its own that
// shrinks when the registry complains and recovers when it stops, bounds on everything it can send back, and credentials
// that leave for no other host. Nothing is retried here: the loop that asks knows better when to ask again.
package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tandem-cd/tandem/shared/fault"
)

// Limits on what one listing may bring.
const (
	// PageSize is how many tags are asked for at a time. Amazon's registry refuses more.
	PageSize = 1000
	// MaxPages bounds the pages of one listing.
	MaxPages = 500
	// MaxTags bounds the tags of one listing.
	MaxTags = 100_000
	// maxBarrenPages bounds the pages that promise more but bring nothing new, so that a list which links to itself ends.
	maxBarrenPages = 3
)

// tagPattern is the grammar of tags. What a registry lists besides is dropped: nobody could pull it.
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// Client asks registries. It is safe for concurrent use.
type Client struct {
	cfg     Config
	metrics *metrics

	mu    sync.Mutex
	hosts map[string]*host
}

// New returns a client. It reads no file and opens no connection before it is asked something.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, metrics: newMetrics(cfg.Metrics), hosts: make(map[string]*host)}, nil
}

// Close drops idle connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		h.close()
	}
}

// Tags lists the tags of a repository such as "ghcr.io/acme/api", sorted, each once.
//
// complete says whether these are all. They are not when listing ended with an error after some pages, which are returned
// with it, and not when the list ended at exactly the page size without a link to more: too many registries forget the
// link. A caller MUST NOT take a tag for removed because an incomplete list lacks it.
func (c *Client) Tags(ctx context.Context, repository string) (tags []string, complete bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeouts.List.Or(defaultListTimeout), errListTimeout)
	defer cancel()
	err = c.each(ctx, repository, func(ctx context.Context, p place) error {
		list := listing{seen: make(map[string]bool)}
		err := p.ask(ctx, func(puller *remote.Puller) error { return list.read(ctx, puller, p.repository) })
		if err == nil || len(list.seen) > len(tags) {
			tags, complete = list.sorted(), err == nil && !list.cut
		}
		return p.explain(ctx, subject{repository: p.repository}, err)
	})
	return tags, complete, err
}

// Digest returns the digest that a tag points to now. It asks by HEAD, which Docker Hub does not count as a pull, and by
// GET where a registry does not answer HEAD properly. A digest that is heard for the first time is asked for too: what the
// registry does not have nobody can pull, and once it is in Git it stays there until the next version.
func (c *Client) Digest(ctx context.Context, repository, tag string) (string, error) {
	if !tagPattern.MatchString(tag) {
		return "", fault.New(fault.Invalid, "digest of %s: %.130q is not a tag", repository, tag)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeouts.Digest.Or(defaultDigestTimeout), errDigestTimeout)
	defer cancel()
	var digest v1.Hash
	err := c.each(ctx, repository, func(ctx context.Context, p place) (err error) {
		digest, err = p.digest(ctx, tag)
		return err
	})
	if err != nil {
		return "", err
	}
	return digest.String(), nil
}

// digest resolves a tag, and makes sure that what it points to is there.
func (p place) digest(ctx context.Context, tag string) (digest v1.Hash, err error) {
	present := true
	err = p.ask(ctx, func(puller *remote.Puller) (err error) {
		if digest, err = resolve(ctx, puller, p.repository.Tag(tag)); err == nil {
			present, err = p.has(ctx, puller, p.repository.Digest(digest.String()))
		}
		return err
	})
	if err == nil && !present {
		return v1.Hash{}, fault.New(fault.NotFound, "digest of %s:%s: the registry says that it is %s, and does not have that: a cache in front of it may be stale",
			p.repository.Name(), tag, digest)
	}
	return digest, p.explain(ctx, subject{repository: p.repository, tag: tag}, err)
}

// resolve asks by HEAD, then by GET.
func resolve(ctx context.Context, puller *remote.Puller, ref name.Tag) (v1.Hash, error) {
	head, err := puller.Head(ctx, ref)
	if err == nil {
		return head.Digest, nil
	}
	if !headUnsupported(err) {
		return v1.Hash{}, err
	}
	got, err := puller.Get(ctx, ref)
	if err != nil {
		return v1.Hash{}, err
	}
	// The digest is that of whatever was answered, such as a proxy's page for people to sign in, or nothing at all.
	var manifest struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	kind := got.MediaType
	if err := json.Unmarshal(got.Manifest, &manifest); err != nil || manifest.SchemaVersion == 0 || !kind.IsImage() && !kind.IsIndex() && !kind.IsSchema1() {
		return v1.Hash{}, fmt.Errorf("answered with %d bytes of %.100q that are no manifest: something that is no registry may stand in its place", len(got.Manifest), kind)
	}
	return got.Digest, nil
}

// listing collects the pages of one list.
type listing struct {
	seen   map[string]bool
	cut    bool
	barren int
}

// Reasons to stop reading a list. They end up in an explanation.
var (
	errTooManyPages = errors.New("the list has more pages than are read")
	errTooManyTags  = errors.New("the list has more tags than are kept")
	errBarrenPages  = errors.New("the list goes on without bringing anything new")
)

func (l *listing) read(ctx context.Context, puller *remote.Puller, repo name.Repository) error {
	lister, err := puller.Lister(ctx, repo)
	if err != nil {
		return err
	}
	for pages := 1; lister.HasNext(); pages++ {
		page, err := lister.Next(ctx)
		if err != nil {
			return err
		}
		if err := l.add(page); err != nil {
			return err
		}
		if pages == MaxPages && page.Next != "" {
			return errTooManyPages
		}
	}
	return nil
}

func (l *listing) add(page *remote.Tags) error {
	before := len(l.seen)
	for _, tag := range page.Tags {
		if tagPattern.MatchString(tag) {
			l.seen[tag] = true
		}
	}
	l.cut = page.Next == "" && len(page.Tags) == PageSize
	if len(l.seen) > MaxTags {
		return errTooManyTags
	}
	if len(l.seen) > before || page.Next == "" {
		l.barren = 0
		return nil
	}
	if l.barren++; l.barren > maxBarrenPages {
		return errBarrenPages
	}
	return nil
}

func (l *listing) sorted() []string {
	tags := make([]string, 0, len(l.seen))
	for tag := range l.seen {
		tags = append(tags, tag)
	}
	slices.SortFunc(tags, cmp.Compare)
	return tags
}
