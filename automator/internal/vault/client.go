// Package vault reads credentials from a HashiCorp Vault, or from an OpenBao, which has the same API.
//
// It logs in once, keeps its token alive, and reads a secret again while it counts: at half of its lease, every few minutes where
// it has none, and when a registry or Git host does not take what it holds. While Vault cannot be asked, what was read last
// counts on.
package vault

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/redact"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

// Deps are what a client tells things to.
type Deps struct {
	Log *zap.Logger
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
}

// Client reads secrets of one Vault. It is safe for concurrent use.
type Client struct {
	cfg     Config
	base    *url.URL // nil without a Vault
	method  method
	log     *zap.Logger
	metrics *metrics
	secrets *redact.Secrets
	tokens  *shortlived.Source
	held    token // the newest of tokens, which nobody else touches while it issues
	dial    func(ctx context.Context, network, address string) (net.Conn, error)

	mu      sync.Mutex
	sources map[Secret]*shortlived.Source
}

// New returns a client. It asks nobody yet, and never does without an address.
func New(cfg Config, deps Deps) (*Client, error) {
	c := &Client{cfg: cfg, log: deps.Log, secrets: redact.New(), dial: (&net.Dialer{Timeout: connectTimeout}).DialContext, sources: map[Secret]*shortlived.Source{}}
	c.metrics = newMetrics(deps.Metrics, c.standings)
	if err := cfg.Validate(); err != nil || !cfg.Given() {
		return c, err
	}
	var err error
	if c.base, err = cfg.base(); err != nil {
		return nil, err
	}
	if c.method, err = cfg.Auth.method(); err != nil {
		return nil, err
	}
	c.tokens = shortlived.New("token of Vault", c.telling("token", c.issueToken))
	return c, nil
}

// Source returns what gives the credentials in a secret, the same for all who want the same.
func (c *Client) Source(secret Secret) (*shortlived.Source, error) {
	if c.base == nil {
		return nil, errors.New("no Vault is configured; write vault.address and vault.auth")
	}
	if err := secret.Validate(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sources[secret] == nil {
		r := &reader{Client: c, secret: secret}
		c.sources[secret] = shortlived.New(secret.Path+" of Vault", c.telling(secret.Path, r.issue))
	}
	return c.sources[secret], nil
}

// telling logs when a source begins to fail, when it fails in another way, and when that is over.
func (c *Client) telling(about string, issue shortlived.Issue) shortlived.Issue {
	failing, kind := false, fault.Internal // its source issues one at a time
	return func(ctx context.Context) (shortlived.Credentials, error) {
		got, err := issue(ctx)
		switch {
		case err == nil && failing:
			c.log.Info("Vault gives credentials again", zap.String(telemetry.Name, about))
		case err != nil && (!failing || kind != fault.KindOf(err)):
			c.log.Warn("Vault gives no credentials", zap.String(telemetry.Name, about), zap.Error(err))
		}
		failing, kind = err != nil, fault.KindOf(err)
		return got, err
	}
}

// Problems are how those stand, each once and the worst first, that are not to be had of Vault now. Nobody misses its token as long
// as every secret that somebody asked for counts.
func (c *Client) Problems() []shortlived.Standing {
	if c.tokens == nil {
		return nil
	}
	all := c.standings()
	if token := c.tokens.Standing(); token != nil {
		missing := func(s shortlived.Standing) bool { return !s.Counts }
		token.Counts = token.Counts || len(all) > 0 && !slices.ContainsFunc(all, missing)
		all = append(all, *token)
	}
	all = slices.DeleteFunc(all, func(s shortlived.Standing) bool { return s.Problem == nil })
	slices.SortFunc(all, worst)
	return slices.CompactFunc(all, func(a, b shortlived.Standing) bool { return worst(a, b) == 0 })
}

// worst orders what is missing before what counts, and each by its problem.
func worst(a, b shortlived.Standing) int {
	switch {
	case a.Counts == b.Counts:
		return strings.Compare(a.Problem.Error(), b.Problem.Error())
	case a.Counts:
		return 1
	}
	return -1
}

// standings are those of the secrets that somebody asked for.
func (c *Client) standings() []shortlived.Standing {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []shortlived.Standing
	for _, source := range c.sources {
		if standing := source.Standing(); standing != nil {
			all = append(all, *standing)
		}
	}
	return all
}
