package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/redact"
)

// handshakeEvery is how often at most a registry's refusal makes us shake hands anew: it may have changed how it wants
// to be talked to, which the puller asked once.
const handshakeEvery = 10 * time.Minute

// host is one registry: its connections, its budget and its puller.
type host struct {
	name      string
	cfg       Host
	userAgent string
	budget    *budget
	metrics   *metrics
	source    *shortlived.Source // nil where files have the credentials
	secrets   *redact.Secrets    // what the registry is sent
	base      *connections

	mu     sync.Mutex
	puller *remote.Puller
	keys   *keychain               // of puller
	made   time.Time               // puller
	seen   map[string]bool         // digests that it has, by their reference
	lists  map[string]*http.Client // that ask for referrers, by repository; with the same keys
}

func newHost(registry string, cfg Host, common Config, metrics *metrics) (*host, error) {
	source, err := common.source(cfg, registry)
	return &host{
		source:    source,
		name:      registry,
		cfg:       cfg,
		userAgent: common.UserAgent,
		budget:    newBudget(registry, cfg.RequestsPerSecond),
		metrics:   metrics,
		secrets:   redact.New(),
		base:      newConnections(registry, cfg, common.Timeouts),
	}, err
}

// ask runs f with the registry's puller, and once more if the registry refused credentials in whose place there are others.
func (h *host) ask(ctx context.Context, f func(*remote.Puller) error) error {
	puller, keys, err := h.getPuller()
	if err != nil {
		return err
	}
	shown := keys.shown.Load()
	err = f(puller)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		// Callers that come at the same time share the first handshake with a repository, and with it the end of the
		// context of whoever came first. That was not ours. Its deadline cannot be told from a network that does not answer.
		err = f(puller)
	}
	switch {
	case !refusesUs(err):
		return err
	case !keys.renewed(ctx, shown):
		h.forget(puller, handshakeEvery)
		return err
	}
	h.forget(puller, 0)
	if puller, _, err = h.getPuller(); err != nil {
		return err
	}
	return f(puller)
}

// refusesUs tells whether a registry, or its token server, does not know us by what it was shown.
func refusesUs(err error) bool {
	refused, ok := errors.AsType[*transport.Error](err)
	if !ok {
		return false
	}
	ofTokens := refused.Request != nil && !strings.HasPrefix(refused.Request.URL.Path, "/v2/")
	return refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden && ofTokens
}

func interrupted(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// getPuller returns the puller and makes it first if need be.
func (h *host) getPuller() (*remote.Puller, *keychain, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.puller != nil {
		return h.puller, h.keys, nil
	}
	keys := &keychain{cfg: h.cfg, source: h.source, secrets: h.secrets}
	puller, err := remote.NewPuller(h.options(keys)...)
	if err != nil {
		return nil, nil, err
	}
	h.puller, h.keys, h.lists, h.made = puller, keys, nil, time.Now()
	return puller, keys, nil
}

// options are how the registry is talked to.
func (h *host) options(keys *keychain) []remote.Option {
	return []remote.Option{
		remote.WithTransport(h.guarded()),
		remote.WithAuthFromKeychain(keys),
		remote.WithUserAgent(h.userAgent),
		remote.WithPageSize(PageSize),
		// The scan loop decides when to ask again; a retry in here would sleep past the end of the context.
		remote.WithRetryStatusCodes(),
		remote.WithRetryPredicate(func(error) bool { return false }),
	}
}

// guarded is how requests are sent.
func (h *host) guarded() http.RoundTripper {
	return &guard{host: h.name, insecure: h.cfg.Insecure, trusted: h.cfg.TokenServers, budget: h.budget, metrics: h.metrics, secrets: h.secrets, inner: h.base}
}

// maxSeen bounds the digests that are remembered; beyond it all are asked for once more.
const maxSeen = 10_000

// has tells whether the registry has a manifest that it has named. One that cannot say so is believed.
func (h *host) has(ctx context.Context, puller *remote.Puller, ref name.Digest) (bool, error) {
	h.mu.Lock()
	seen := h.seen[ref.Name()]
	h.mu.Unlock()
	if seen {
		return true, nil
	}
	_, err := puller.Head(ctx, ref)
	if answer, ok := errors.AsType[*transport.Error](err); ok && answer.StatusCode == http.StatusNotFound {
		return false, nil
	}
	if err != nil && !headUnsupported(err) {
		return false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen == nil || len(h.seen) >= maxSeen {
		h.seen = map[string]bool{}
	}
	h.seen[ref.Name()] = true
	return true, nil
}

// forget drops the puller unless it is younger than that, so that the next question begins with a handshake.
func (h *host) forget(puller *remote.Puller, least time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.puller == puller && time.Since(h.made) >= least {
		h.puller = nil
	}
}

func (h *host) close() { h.base.kept.CloseIdle() }
