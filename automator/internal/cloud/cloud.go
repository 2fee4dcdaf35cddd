package cloud

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
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

// exchangeTimeout bounds one request of an exchange.
const exchangeTimeout = 30 * time.Second

// exchange gets new credentials for a registry by its host.
type exchange func(ctx context.Context, host string) (shortlived.Credentials, error)

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

// New returns a source for a registry, or why the provider has no credentials for it.
func New(provider Provider, host string) (*shortlived.Source, error) {
	if err := check(provider, host); err != nil {
		return nil, err
	}
	from := known()[provider].exchange
	return shortlived.New(
		fmt.Sprintf("credentials of %s for %s", provider, host),
		func(ctx context.Context) (shortlived.Credentials, error) { return from(ctx, host) },
	), nil
}
