package cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// Providers are all of them.
func Providers() []Provider { return []Provider{AWS, Google, Azure} }

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

// Check tells why a registry has no such credentials; nil if it has.
func Check(provider Provider, host string) error {
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
	for _, provider := range Providers() {
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

// New returns a source for a registry that Check accepts.
func New(provider Provider, host string) (*Source, error) {
	if err := Check(provider, host); err != nil {
		return nil, err
	}
	return newSource(provider, host, known()[provider].exchange), nil
}

func newSource(provider Provider, host string, from exchange) *Source {
	return &Source{provider: provider, host: host, exchange: from, now: time.Now, turn: make(chan struct{}, 1)}
}

// Credentials returns credentials that hold for some minutes at least. Who asks while another does waits for the same
// answer. An error is of kind Unauthorized and says what the cloud's library has tried.
func (s *Source) Credentials(ctx context.Context) (Credentials, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return Credentials{}, context.Cause(ctx)
	}
	now := s.now()
	if now.Before(s.again) {
		return s.have, s.failed
	}
	// One that asks may go while others wait for the answer.
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeTimeout)
	defer cancel()
	got, err := s.exchange(asking, s.host)
	if err == nil && (got.Username == "" || got.Password == "") {
		err = errors.New("the answer has no token")
	}
	if err != nil {
		s.failed = fault.New(fault.Unauthorized, "credentials of %s for %s: %w", s.provider, s.host, err)
		if now.Before(s.have.Expires) {
			s.failed = nil // they still count
		} else {
			s.have = Credentials{}
		}
		s.again = now.Add(pauseAfterFailure)
		return s.have, s.failed
	}
	s.have, s.failed = got, nil
	s.again = got.Expires.Add(-min(renewBefore, got.Expires.Sub(now)/2))
	return got, nil
}
