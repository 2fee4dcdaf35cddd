package automator

import (
	"context"

	"github.com/tandem-cd/tandem/automator/internal/cloud"
	"github.com/tandem-cd/tandem/automator/internal/registry"
)

// fromCloud returns what gives credentials for a registry of a cloud that this process is in, or has a key of.
func fromCloud(provider, host string) (registry.Exchange, error) {
	source, err := cloud.New(cloud.Provider(provider), host)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (username, password string, err error) {
		got, err := source.Credentials(ctx)
		return got.Username, got.Password, err
	}, nil
}
