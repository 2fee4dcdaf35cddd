package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/redact"
)

// keychain finds the credentials of one registry's repositories. Files are read whenever credentials are needed, so that
// a rotated secret needs no restart.
type keychain struct {
	cfg     Host
	source  *shortlived.Source // nil where files have the credentials
	secrets *redact.Secrets
	shown   atomic.Pointer[string] // the newest password of source that was asked for
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
	if c.source != nil {
		return c.ask(ctx)
	}
	if c.cfg.Username != "" {
		password, err := config.ReadSecret(c.cfg.PasswordFile)
		if err != nil {
			return nil, err
		}
		return &authn.AuthConfig{Username: c.cfg.Username, Password: password}, nil
	}
	if c.cfg.DockerConfigFile != "" {
		text, err := config.ReadSecret(c.cfg.DockerConfigFile)
		if err != nil {
			return nil, err
		}
		return fromDockerConfig("dockerConfigFile "+c.cfg.DockerConfigFile, text, c.repository)
	}
	return &authn.AuthConfig{}, nil
}

// ask gets the credentials from their source.
func (c *credentials) ask(ctx context.Context) (*authn.AuthConfig, error) {
	got, err := c.source.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	c.shown.Store(&got.Password)
	if field := c.cfg.Vault.DockerConfigField; field != "" {
		return fromDockerConfig("field "+field+" of "+c.cfg.Vault.Path, got.Password, c.repository)
	}
	return &authn.AuthConfig{Username: cmp.Or(got.Username, c.cfg.Username), Password: got.Password}, nil
}

// renewed reports whether there are other credentials than those that the registry refused: those that were shown before it was
// asked, or the first.
func (k *keychain) renewed(ctx context.Context, shown *string) bool {
	if shown == nil {
		shown = k.shown.Load()
	}
	if k.source == nil || shown == nil || !k.source.Refused(*shown) {
		return false
	}
	got, err := k.source.Credentials(ctx)
	return err == nil && got.Password != *shown
}

// dockerConfig is what is read of a Docker config.json.
type dockerConfig struct {
	Auths       map[string]authn.AuthConfig `json:"auths"`
	CredHelpers map[string]string           `json:"credHelpers"`
}

// fromDockerConfig finds the entry that names the repository or the longest part of it, and the registry at least. where is
// what errors call it.
func fromDockerConfig(where, text, repository string) (*authn.AuthConfig, error) {
	var file dockerConfig
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		return nil, fmt.Errorf("%s is not a Docker config.json: %w", where, err)
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
				return nil, fmt.Errorf("%s names a credential helper for %q; helpers are not run here, put the credentials under auths or use username and passwordFile", where, key)
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
