package automator

import (
	"github.com/tandem-cd/tandem/automator/internal/cloud"
	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/automator/internal/vault"
)

// fromCloud returns what gives credentials for a registry of a cloud that this process is in, or has a key of.
func fromCloud(provider, host string) (*shortlived.Source, error) {
	return cloud.New(cloud.Provider(provider), host)
}

// fromVault returns what reads the credentials of a registry from Vault.
func (a *Automator) fromVault(secret registry.Secret) (*shortlived.Source, error) {
	return a.vault.Source(vault.Secret(secret))
}
