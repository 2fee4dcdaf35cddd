package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
)

// Provider names a cloud in the configuration.
type Provider string

// The clouds whose registries can be asked without a password.
const (
	// AWS is Amazon's: ECR and ECR Public.
	AWS Provider = "aws"
	// Google is Google's: Artifact Registry and what answers as gcr.io.
	Google Provider = "google"
	// Azure is Microsoft's: Azure Container Registry.
	Azure Provider = "azure"
)

// Credentials are what a registry takes for a while.
type Credentials struct {
	Username, Password string
	// Expires is when they end.
	Expires time.Time
}

// exchange gets new credentials for a registry by its host.
type exchange func(ctx context.Context, host string) (Credentials, error)

// clouds are how each gives credentials, and which hosts are its own.
type clouds map[Provider]struct {
	owns     func(host string) bool
	exchange exchange
}

func known() clouds {
	return clouds{
		AWS:    {func(host string) bool { _, ok := parseECR(host); return ok }, fromAWS},
		Google: {isGoogle, fromGoogle},
		Azure:  {isAzure, newAzure().exchange},
	}
}

// check tells why a registry has no such credentials; nil if it has.
func check(provider Provider, host string) error {
	cloud, ok := known()[provider]
	if !ok {
		return fmt.Errorf("provider %.40q is not there; write one of %s", provider, names())
	}
	if !cloud.owns(host) {
		return fmt.Errorf("%.100q is not a registry of the provider %s, which would give it credentials of the cloud", host, provider)
	}
	return nil
}

func names() string {
	var all []string
	for provider := range known() {
		all = append(all, string(provider))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// Source gives credentials for one registry. It is safe for concurrent use.
type Source struct {
	provider Provider
	host     string
	exchange exchange
	now      func() time.Time

	turn   chan struct{} // holds one token: who asks
	have   Credentials
	failed error
	again  time.Time // not before then
}

const (
	// exchangeTimeout bounds one exchange.
	exchangeTimeout = 30 * time.Second
	// pauseAfterFailure is how long a failure counts for everybody who asks.
	pauseAfterFailure = 15 * time.Second
	// renewBefore is how long before their end credentials are exchanged anew; what lives shorter is at half of its life.
	renewBefore = 5 * time.Minute
)

// New returns a source for a registry, or why the provider has no credentials for it.
func New(provider Provider, host string) (*Source, error) {
	if err := check(provider, host); err != nil {
		return nil, err
	}
	return newSource(provider, host, known()[provider].exchange), nil
}

func newSource(provider Provider, host string, from exchange) *Source {
	return &Source{provider: provider, host: host, exchange: from, now: time.Now, turn: make(chan struct{}, 1)}
}

// Credentials returns credentials that hold for some minutes at least. Who asks while another does waits for the same
// answer; who gives up leaves it to the others. An error is of kind Unauthorized and says what the cloud's library has tried.
func (s *Source) Credentials(ctx context.Context) (Credentials, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return Credentials{}, context.Cause(ctx)
	}
	if s.now().Before(s.again) {
		defer func() { <-s.turn }()
		return s.have, s.failed
	}
	answer := make(chan outcome, 1)
	var asking sync.WaitGroup
	asking.Go(func() {
		defer func() { <-s.turn }()
		asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeTimeout)
		defer cancel()
		s.renew(asked)
		answer <- outcome{s.have, s.failed}
	})
	select {
	case got := <-answer:
		return got.Credentials, got.err
	case <-ctx.Done():
		return Credentials{}, context.Cause(ctx)
	}
}

type outcome struct {
	Credentials

	err error
}

// renew exchanges credentials. Who calls it has the turn.
func (s *Source) renew(ctx context.Context) {
	now := s.now()
	got, err := s.exchange(ctx, s.host)
	if err == nil && (got.Username == "" || got.Password == "") {
		err = errors.New("the answer has no token")
	}
	if err == nil {
		s.have, s.failed = got, nil
		s.again = later(got.Expires.Add(-min(renewBefore, got.Expires.Sub(now)/2)), now.Add(pauseAfterFailure))
		return
	}
	s.again = now.Add(pauseAfterFailure)
	if now.Before(s.have.Expires) {
		return // they still count
	}
	s.have = Credentials{}
	s.failed = fault.New(fault.Unauthorized, "credentials of %s for %s: %w", s.provider, s.host, err)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
