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
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/redact"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

// readEvery is how often a secret without a lease is read: nobody says until when a value in a KV counts.
const readEvery = 5 * time.Minute

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
		c.sources[secret] = shortlived.New(secret.Path+" of Vault", c.telling(secret.Path, func(ctx context.Context) (shortlived.Credentials, error) {
			return c.issue(ctx, secret)
		}))
	}
	return c.sources[secret], nil
}

// issue reads a secret.
func (c *Client) issue(ctx context.Context, secret Secret) (shortlived.Credentials, error) {
	asked := time.Now()
	got, token, err := c.read(ctx, secret.Path)
	if err != nil {
		return shortlived.Credentials{}, err
	}
	username, password, err := secret.pick(fieldsOf(got.Data))
	if err != nil {
		return shortlived.Credentials{}, err
	}
	c.secrets.Add(password)
	credentials := shortlived.Credentials{Username: username, Password: password}
	credentials.Expires, credentials.Renew = got.life(asked, token.Expires)
	return credentials, nil
}

// read reads a path, and returns the token that it was read with.
func (c *Client) read(ctx context.Context, path string) (got answer, shown shortlived.Credentials, err error) {
	shown, err = c.tokens.Credentials(ctx)
	if err != nil {
		return answer{}, shown, err
	}
	got, err = c.readWith(ctx, path, shown.Password)
	if !says(err, http.StatusForbidden) {
		return got, shown, explain(path, err)
	}
	// Vault says the same to a token that it does not know as to one that may not.
	_, lookErr := c.lookUp(ctx, shown.Password)
	switch {
	case lookErr == nil:
		return answer{}, shown, explain(path, err)
	case !says(lookErr, http.StatusForbidden):
		return answer{}, shown, lookErr
	case !c.tokens.Refused(shown.Password):
		return answer{}, shown, fault.New(fault.Unavailable, "%w, though the token is new; the next one is asked for in a moment", lookErr)
	}
	refused := shown.Password
	if shown, err = c.tokens.Credentials(ctx); err != nil {
		return answer{}, shown, err
	}
	if problem := c.tokens.Standing().Problem; problem != nil && shown.Password == refused {
		return answer{}, shown, problem
	}
	got, err = c.readWith(ctx, path, shown.Password)
	return got, shown, explain(path, err)
}

func (c *Client) readWith(ctx context.Context, path, token string) (answer, error) {
	got, err := c.ask(ctx, request{operation: opRead, method: http.MethodGet, path: path, token: token})
	if err == nil && got.Data == nil {
		return answer{}, c.noVault(fault.Unauthorized, "the answer has no data")
	}
	return got, err
}

// life says when what was read ends, and when it is to be read again. A lease ends with the token that it was given to.
func (a answer) life(asked, tokenEnds time.Time) (ends, renew time.Time) {
	lease := seconds(a.LeaseDuration)
	if a.LeaseID == "" || lease == 0 {
		every := readEvery
		if lease > 0 { // what a KV of version 1 recommends
			every = min(every, lease)
		}
		return time.Time{}, asked.Add(every)
	}
	ends = asked.Add(lease)
	if !tokenEnds.IsZero() && tokenEnds.Before(ends) {
		ends = tokenEnds
	}
	return ends, asked.Add(ends.Sub(asked) / 2)
}

// maxLease bounds what is believed of a lease, which is a number of seconds.
const maxLease = 10 * 365 * 24 * time.Hour

func seconds(n int64) time.Duration {
	if n > int64(maxLease/time.Second) {
		return maxLease
	}
	return time.Duration(max(n, 0)) * time.Second
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

// Problems says what is not to be had of Vault, and why.
func (c *Client) Problems() []string {
	if c.tokens == nil {
		return nil
	}
	all := c.standings()
	if token := c.tokens.Standing(); token != nil {
		all = append(all, *token)
	}
	var problems []string
	for _, standing := range all {
		if standing.Problem == nil {
			continue
		}
		text := standing.Problem.Error()
		if standing.Counts {
			text += "; what was had before is used on"
		}
		problems = append(problems, text)
	}
	slices.Sort(problems)
	return slices.Compact(problems)
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
