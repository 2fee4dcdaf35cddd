package automator

import (
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/automator/internal/vault"
)

func TestSecretsOfAVaultAreChecked(t *testing.T) {
	t.Parallel()
	reached := vault.Config{Address: "https://vault.example.com", Auth: vault.Auth{Token: vault.TokenAuth{File: "token"}}}
	secret := vault.Secret{Path: "secret/data/x"}
	hosts := func(secret vault.Secret) registry.Config {
		return registry.Config{Hosts: map[string]registry.Host{"ghcr.io": {Username: "robot", Vault: registry.Secret(secret)}}}
	}
	repository := func(auth AuthConfig) []RepositoryConfig {
		return []RepositoryConfig{{Name: "deploy", URL: "https://git.example.com/acme/deploy", Auth: auth}}
	}
	tests := map[string]struct {
		cfg  Config
		says string
	}{
		"None":         {cfg: Config{Registries: hosts(vault.Secret{})}},
		"Registry":     {cfg: Config{Vault: reached, Registries: hosts(secret)}},
		"Git":          {cfg: Config{Vault: reached, Repositories: repository(AuthConfig{Vault: secret})}},
		"NoVault":      {cfg: Config{Registries: hosts(secret)}, says: "registries.hosts.ghcr.io.vault: a secret of a Vault is named, and vault.address is missing"},
		"NoVaultGit":   {cfg: Config{Repositories: repository(AuthConfig{Vault: secret})}, says: "repositories[0].auth.vault: a secret"},
		"Path":         {cfg: Config{Vault: reached, Registries: hosts(vault.Secret{Path: "v1/x"})}, says: "registries.hosts.ghcr.io.vault: path"},
		"TwoPasswords": {cfg: Config{Vault: reached, Repositories: repository(AuthConfig{Vault: secret, PasswordFile: "x"})}, says: "repositories[0].auth: the password comes from vault"},
		"App":          {cfg: Config{Vault: reached, Repositories: repository(AuthConfig{Vault: secret, GitHubApp: GitHubAppConfig{ID: "1"}})}, says: "repositories[0].auth: the password comes from vault"},
		"DockerConfig": {cfg: Config{Vault: reached, Repositories: repository(AuthConfig{Vault: vault.Secret{Path: "x", DockerConfigField: "x"}})}, says: "for registries"},
		"Itself":       {cfg: Config{Vault: vault.Config{Address: "vault"}}, says: "vault: address"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tc.cfg.validateVault()
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("validateVault: %v, want %q", err, tc.says)
			}
		})
	}
}
