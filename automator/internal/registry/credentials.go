package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/redact"
)

// keychain finds the credentials of one registry's repositories. Files are read whenever credentials are needed, so that
// a rotated secret needs no restart.
type keychain struct {
	cfg     Host
	cloud   Exchange // nil where files have the credentials
	secrets *redact.Secrets
}

// Resolve returns what authenticates requests for a repository.
func (k *keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return &credentials{keychain: k, repository: target.String()}, nil
}

type credentials struct {
	*keychain

	repository string
}

// Authorization is what go-containerregistry asks only of those that cannot be asked with a context.
func (c *credentials) Authorization() (*authn.AuthConfig, error) { return nil, errNoContext }

var errNoContext = errors.New("credentials are asked for without a context")

// AuthorizationContext returns the credentials as they are now; empty ones are anonymous. What is returned is kept out of
// errors from then on.
func (c *credentials) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	found, err := c.read(ctx)
	if found != nil {
		c.secrets.Add(found.Password, found.Auth, found.IdentityToken, found.RegistryToken)
	}
	return found, err
}

func (c *credentials) read(ctx context.Context) (*authn.AuthConfig, error) {
	if c.cloud != nil {
		username, password, err := c.cloud(ctx)
		return &authn.AuthConfig{Username: username, Password: password}, err
	}
	if c.cfg.Username != "" {
		password, err := config.ReadSecret(c.cfg.PasswordFile)
		if err != nil {
			return nil, err
		}
		return &authn.AuthConfig{Username: c.cfg.Username, Password: password}, nil
	}
	if c.cfg.DockerConfigFile != "" {
		return fromDockerConfig(c.cfg.DockerConfigFile, c.repository)
	}
	return &authn.AuthConfig{}, nil
}

// dockerConfig is what is read of a Docker config.json.
type dockerConfig struct {
	Auths       map[string]authn.AuthConfig `json:"auths"`
	CredHelpers map[string]string           `json:"credHelpers"`
}

// fromDockerConfig finds the entry that names the repository or the longest part of it, and the registry at least.
func fromDockerConfig(path, repository string) (*authn.AuthConfig, error) {
	text, err := config.ReadSecret(path)
	if err != nil {
		return nil, err
	}
	var file dockerConfig
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		return nil, fmt.Errorf("dockerConfigFile %s is not a Docker config.json: %w", path, err)
	}
	best := -1
	found := authn.AuthConfig{}
	for key, entry := range file.Auths {
		if scope := credentialScope(key); covers(scope, repository) && len(scope) > best {
			best, found = len(scope), entry
		}
	}
	if best < 0 {
		for key := range file.CredHelpers {
			if covers(credentialScope(key), repository) {
				return nil, fmt.Errorf("dockerConfigFile %s names a credential helper for %q; helpers are not run here, put the credentials under auths or use username and passwordFile", path, key)
			}
		}
	}
	return &found, nil
}

// covers reports whether a repository is, or is below, what an entry is for.
func covers(scope, repository string) bool {
	return repository == scope || strings.HasPrefix(repository, scope+"/")
}

// credentialScope brings a key of a config.json into the form of repositories: "https://index.docker.io/v1/" is
// "index.docker.io".
func credentialScope(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	key = strings.TrimRight(key, "/")
	key = strings.TrimSuffix(strings.TrimSuffix(key, "/v1"), "/v2")
	host, rest, scoped := strings.Cut(key, "/")
	if host == "docker.io" {
		host = name.DefaultRegistry
	}
	if scoped {
		return host + "/" + rest
	}
	return host
}
