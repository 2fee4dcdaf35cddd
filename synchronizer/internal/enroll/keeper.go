package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
)

const (
	// slowest is the longest wait between two attempts to enroll or to renew.
	slowest = time.Minute
	// attemptTimeout bounds one attempt.
	attemptTimeout = 30 * time.Second
	// earlier is the part of a certificate's life by which a renewal may come earlier than at half of it, so that clusters
	// that enrolled together do not renew together.
	earlier = 10
	// calm is the shortest time between two renewals that a new authority brings about.
	calm = time.Minute
)

// Config says who enrolls where.
type Config struct {
	// Cluster is the name that the certificate has to be for.
	Cluster string
	// Version is this synchronizer's version, for people.
	Version string
	// TokenFile holds the token; it is needed until the cluster is enrolled.
	TokenFile string
	// Automator is how to reach the automator.
	Automator Automator
}

// Deps is what a Keeper works with.
type Deps struct {
	// Vault keeps the identity.
	Vault Vault
	// Conn returns the connection that is open, on which is renewed.
	Conn func() (*grpc.ClientConn, error)
	// Anew makes the next Conn dial anew.
	Anew func(old *grpc.ClientConn)
	// Log takes what a person would want in a timeline.
	Log *zap.Logger
}

// Keeper enrolls and renews. Its methods are safe for concurrent use.
type Keeper struct {
	cfg  Config
	deps Deps

	enrolled chan struct{} // closed with the first certificate
	announce func()
	doubt    chan struct{} // the automator refused a call
	stale    chan struct{} // the automator showed an authority that is not known here

	mu      sync.Mutex
	kept    Kept
	problem error
}

// New returns a keeper. It reads nothing yet.
func New(cfg Config, deps Deps) *Keeper {
	k := &Keeper{
		cfg: cfg, deps: deps, enrolled: make(chan struct{}), doubt: make(chan struct{}, 1), stale: make(chan struct{}, 1),
		problem: errors.New("the identity was not read yet"),
	}
	k.announce = sync.OnceFunc(func() { close(k.enrolled) })
	return k
}

// Enrolled is closed once there is a certificate.
func (k *Keeper) Enrolled() <-chan struct{} { return k.enrolled }

// Problem returns why there is no certificate, or why it could not be renewed; nil when all is well.
func (k *Keeper) Problem() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.problem
}

// Certificates returns this cluster's certificate, nil before there is one, and the authorities that it trusts. That the
// certificate counts still is not said.
func (k *Keeper) Certificates() (own *x509.Certificate, authorities []*x509.Certificate) {
	kept := k.present()
	return kept.Certificate, slices.Clone(kept.CA)
}

// Read takes over what is kept and does nothing about it, for who only wants to look.
func (k *Keeper) Read(ctx context.Context) error {
	kept, err := k.deps.Vault.Load(ctx)
	if err == nil {
		k.adopt(kept)
	}
	return err
}

func (k *Keeper) present() Kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept
}

func (k *Keeper) adopt(kept Kept) {
	k.mu.Lock()
	k.kept = kept
	k.mu.Unlock()
	if kept.Certificate != nil {
		k.announce()
	}
}

func (k *Keeper) note(problem error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.problem = problem
}

// Run enrolls, and renews from then on, until the context is done.
func (k *Keeper) Run(ctx context.Context) error {
	retry := backoff.Backoff{Max: slowest}
	why := reasonStart
	for attempt := 0; ; {
		err := k.attempt(ctx, why)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		k.note(err)
		if err != nil {
			k.deps.Log.Warn("identity not renewed", zap.Error(err), zap.Int("attempt", attempt), zap.String("why", string(why)))
			_ = retry.Wait(ctx, attempt)
			attempt++
			continue
		}
		attempt = 0
		if why, err = k.sleep(ctx, time.Now()); err != nil {
			return err
		}
	}
}

// reason is why something is to be done.
type reason string

const (
	reasonStart   reason = "start"
	reasonAge     reason = "half of the certificate's life is over"
	reasonRefused reason = "the automator refused a call"
	reasonCA      reason = "the automator has a new authority"
)

// sleep returns when something is to be done, and why. Its timer does not see a clock that is set or a machine that is
// suspended; then the certificate expires before its renewal, and what is done is to be done when a call is refused.
func (k *Keeper) sleep(ctx context.Context, renewed time.Time) (reason, error) {
	timer := time.NewTimer(time.Until(k.due()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-timer.C:
			return reasonAge, nil
		case <-k.doubt:
			return reasonRefused, nil
		case <-k.stale:
			if time.Since(renewed) > calm {
				return reasonCA, nil
			}
		}
	}
}

// due is when to renew: at half of the certificate's life, or a little before.
func (k *Keeper) due() time.Time {
	cert := k.present().Certificate
	half := credential.RenewAt(cert)
	return half.Add(-rand.N(cert.NotAfter.Sub(half)/earlier + 1))
}

// attempt does what is to be done now.
func (k *Keeper) attempt(ctx context.Context, why reason) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	before := k.present()
	kept, err := k.deps.Vault.Load(ctx)
	if err != nil {
		return err
	}
	k.adopt(kept)
	switch {
	case kept.Certificate == nil:
		return k.enroll(ctx, kept)
	case why == reasonRefused && time.Now().Before(credential.RenewAt(kept.Certificate)):
		return k.again(ctx, kept)
	case why == reasonStart && time.Now().Before(credential.RenewAt(kept.Certificate)):
		return nil
	case before.Certificate != nil && credential.IssuedAt(before.Certificate).Before(credential.IssuedAt(kept.Certificate)):
		return nil // another replica renewed it
	}
	err = k.renew(ctx, kept)
	if fault.Is(err, fault.Unauthorized) {
		return errors.Join(err, k.again(ctx, kept))
	}
	return err
}

// again enrolls anew if there is a token that the present key was not made for. Without one the present certificate stays.
func (k *Keeper) again(ctx context.Context, kept Kept) error {
	token, err := k.token()
	if err != nil || tokenHash(token) == kept.Token {
		return nil //nolint:nilerr // there is no token, as there need not be
	}
	k.deps.Log.Info("enrolling anew with a new token")
	return k.enroll(ctx, Kept{Version: kept.Version})
}

// token reads the token's file.
func (k *Keeper) token() (credential.Token, error) {
	if k.cfg.TokenFile == "" {
		return credential.Token{}, fmt.Errorf("cluster %q is not enrolled, and no enrollment.tokenFile is configured: put what `tandem cluster enroll %s` prints into a file and name it there", k.cfg.Cluster, k.cfg.Cluster)
	}
	text, err := config.ReadSecret(k.cfg.TokenFile)
	if err != nil {
		return credential.Token{}, fmt.Errorf("enrollment.tokenFile: %w; put what `tandem cluster enroll %s` prints there", err, k.cfg.Cluster)
	}
	token, err := credential.ParseToken(text)
	if err != nil {
		return credential.Token{}, fmt.Errorf("enrollment.tokenFile %s: %w", k.cfg.TokenFile, err)
	}
	return token, nil
}

func tokenHash(token credential.Token) string { return fmt.Sprintf("%x", token.Hash()) }
