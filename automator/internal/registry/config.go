package registry

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/config"
)

// Defaults of the configuration.
const (
	defaultUserAgent         = "tandem-automator"
	defaultRequestsPerSecond = 50
	defaultConnectTimeout    = 10 * time.Second
	defaultAnswerTimeout     = 30 * time.Second
	defaultDigestTimeout     = 30 * time.Second
	defaultListTimeout       = 2 * time.Minute
)

// Config says how registries are asked. The zero value asks all of them anonymously over HTTPS.
type Config struct {
	// Hosts has what is special about a registry, by its host as image references name it: "ghcr.io",
	// "registry.example.com:5000", "docker.io".
	Hosts map[string]Host `yaml:"hosts"`
	// DockerConfigFile is a Docker config.json, such as a mounted kubernetes.io/dockerconfigjson secret, with the
	// credentials of hosts that have none of their own.
	DockerConfigFile string `yaml:"dockerConfigFile"`
	// Timeouts bound the waiting.
	Timeouts Timeouts `yaml:"timeouts"`
	// UserAgent is how requests introduce themselves; empty means tandem-automator.
	UserAgent string `yaml:"-"`
	// Cloud returns what exchanges credentials for a registry at a provider, or why there is none; nil knows no provider.
	Cloud func(provider, host string) (*shortlived.Source, error) `yaml:"-"`
	// Vault returns what reads credentials from a Vault, or why nothing does; nil knows none.
	Vault func(Secret) (*shortlived.Source, error) `yaml:"-"`
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer `yaml:"-"`
}

// source returns what gives the credentials of a registry; nil where files do, or nobody.
func (c *Config) source(host Host, registry string) (*shortlived.Source, error) {
	switch {
	case host.Vault.Given() && c.Vault == nil:
		return nil, errors.New("vault is not known here")
	case host.Vault.Given():
		return c.Vault(host.Vault)
	case host.Provider == "":
		return nil, nil
	case c.Cloud == nil:
		return nil, fmt.Errorf("provider %.40q is not known here", host.Provider)
	}
	return c.Cloud(host.Provider, registry)
}

// Host is what is special about one registry.
type Host struct {
	// Insecure speaks plain HTTP to the registry, and nothing else. For a private certificate set CAFile instead.
	Insecure bool `yaml:"insecure"`
	// CAFile has PEM certificates that are trusted for this registry besides the system's.
	CAFile string `yaml:"caFile"`
	// Username and PasswordFile are the credentials; the file is read again whenever they are needed.
	Username string `yaml:"username"`
	// PasswordFile has the password or access token.
	PasswordFile string `yaml:"passwordFile"`
	// DockerConfigFile is a Docker config.json to find the credentials in instead.
	DockerConfigFile string `yaml:"dockerConfigFile"`
	// Provider is the cloud that gives the credentials to what runs in it, or has a key of it: aws, google or azure. Only a
	// registry of that cloud may name one.
	Provider string `yaml:"provider"`
	// Vault is a secret of a Vault that has the credentials; Username counts where the secret has no name.
	Vault Secret `yaml:"vault"`
	// ClientCertFile and ClientKeyFile are a certificate in PEM, and its key, that the registry is shown. Both are read
	// again for every new connection.
	ClientCertFile string `yaml:"clientCertFile"`
	// ClientKeyFile is the key of ClientCertFile.
	ClientKeyFile string `yaml:"clientKeyFile"`
	// TokenServers are hosts, besides those of the registry's own site, that may be sent the credentials when the registry
	// asks for a token from there: "auth.example.net".
	TokenServers []string `yaml:"tokenServers"`
	// Mirrors are asked before the registry, in this order: where the same repositories are to be had, such as
	// "mirror.example.com" or "mirror.example.com/docker-hub". How a mirror is reached stands at its own host. A mirror is
	// trusted as much as the registry: it says what a tag points to.
	Mirrors []string `yaml:"mirrors"`
	// MirrorsOnly never asks the registry itself.
	MirrorsOnly bool `yaml:"mirrorsOnly"`
	// RequestsPerSecond is the registry's request budget; 0 means 50. Twice as many may go at once.
	RequestsPerSecond float64 `yaml:"requestsPerSecond"`
}

// Secret is what is read of a Vault.
type Secret struct {
	// Path is that of Vault's API without /v1: "secret/data/registry" for a KV of version 2 at secret.
	Path string `yaml:"path"`
	// UsernameField is the field with the user's name; empty where Username has it.
	UsernameField string `yaml:"usernameField"`
	// PasswordField is the field with the password or access token; empty means password.
	PasswordField string `yaml:"passwordField"`
	// DockerConfigField is a field with the text of a Docker config.json instead of both.
	DockerConfigField string `yaml:"dockerConfigField"`
}

// Given reports whether anything of it is.
func (s Secret) Given() bool { return s != Secret{} }

// Timeouts bound the waiting, one for each boundary; 0 means the default.
type Timeouts struct {
	// Connect bounds dialling, and again the TLS handshake; 10 s.
	Connect config.Duration `yaml:"connect"`
	// Answer bounds the wait for the first byte of an answer; 30 s.
	Answer config.Duration `yaml:"answer"`
	// Digest bounds resolving one tag, authentication included; 30 s.
	Digest config.Duration `yaml:"digest"`
	// List bounds listing one repository with all its pages; 2 m.
	List config.Duration `yaml:"list"`
}

// Validate fills defaults, brings host names into canonical form, and returns every problem joined.
func (c *Config) Validate() error {
	var problems []error
	if c.UserAgent == "" {
		c.UserAgent = defaultUserAgent
	}
	hosts := make(map[string]Host, len(c.Hosts))
	for _, written := range slices.Sorted(maps.Keys(c.Hosts)) {
		host := c.Hosts[written]
		registry, err := name.NewRegistry(written, name.StrictValidation)
		if err != nil {
			problems = append(problems, fmt.Errorf("registries.hosts: %q is not a host such as ghcr.io or registry.example.com:5000", written))
			continue
		}
		if _, twice := hosts[registry.RegistryStr()]; twice {
			problems = append(problems, fmt.Errorf("registries.hosts: %s is configured twice, once as %q", registry.RegistryStr(), written))
		}
		_, err = c.source(host, registry.RegistryStr())
		if err := errors.Join(err, host.validate()); err != nil {
			problems = append(problems, fmt.Errorf("registries.hosts.%s: %w", written, err))
		}
		hosts[registry.RegistryStr()] = host
	}
	c.Hosts = hosts
	for _, timeout := range []config.Duration{c.Timeouts.Connect, c.Timeouts.Answer, c.Timeouts.Digest, c.Timeouts.List} {
		if timeout < 0 {
			problems = append(problems, errors.New("registries.timeouts: a timeout is negative"))
			break
		}
	}
	return errors.Join(problems...)
}

func (h *Host) validate() error {
	if err := h.validateMirrors(); err != nil {
		return err
	}
	for _, server := range h.TokenServers {
		if server == "" || strings.ContainsAny(server, ":/ ") {
			return fmt.Errorf("tokenServers: %.100q is not the name of a host, such as auth.example.net", server)
		}
	}
	if err := h.validateCredentials(); err != nil {
		return err
	}
	switch {
	case (h.ClientCertFile == "") != (h.ClientKeyFile == ""):
		return errors.New("clientCertFile and clientKeyFile go together")
	case h.Insecure && h.ClientCertFile != "":
		return errors.New("insecure speaks plain HTTP, so clientCertFile has no meaning; remove one of them")
	case h.Insecure && h.CAFile != "":
		return errors.New("insecure speaks plain HTTP, so caFile has no meaning; remove one of them")
	case h.RequestsPerSecond < 0 || math.IsNaN(h.RequestsPerSecond) || math.IsInf(h.RequestsPerSecond, 0):
		return errors.New("requestsPerSecond must be a positive number")
	}
	if h.RequestsPerSecond == 0 {
		h.RequestsPerSecond = defaultRequestsPerSecond
	}
	return nil
}

// validateCredentials wants them to come from one place.
func (h *Host) validateCredentials() error {
	switch {
	case h.Vault.Given():
		return h.validateVault()
	case h.Provider != "" && (h.Username != "" || h.DockerConfigFile != ""):
		return errors.New("credentials come from provider or from a file; remove one of them")
	case h.Provider != "" && h.Insecure:
		return errors.New("provider gives credentials of the cloud, which do not go over plain HTTP; remove insecure")
	case (h.Username == "") != (h.PasswordFile == ""):
		return errors.New("username and passwordFile go together")
	case h.Username != "" && h.DockerConfigFile != "":
		return errors.New("credentials come from username and passwordFile or from dockerConfigFile; remove one of them")
	}
	return nil
}

func (h *Host) validateVault() error {
	named := h.Username != "" || h.Vault.UsernameField != "" || h.Vault.DockerConfigField != ""
	switch {
	case h.Provider != "" || h.PasswordFile != "" || h.DockerConfigFile != "":
		return errors.New("credentials come from vault, from provider or from a file; remove all but one of them")
	case !named:
		return errors.New("vault has a password, and nothing says whose: write username, or vault.usernameField")
	case h.Username != "" && (h.Vault.UsernameField != "" || h.Vault.DockerConfigField != ""):
		return errors.New("username is written, and vault has it too; remove one of them")
	}
	return nil
}

// maxMirrors bounds how many places are asked for one answer.
const maxMirrors = 4

func (h *Host) validateMirrors() error {
	if len(h.Mirrors) > maxMirrors {
		return fmt.Errorf("%d mirrors are more than %d", len(h.Mirrors), maxMirrors)
	}
	if h.MirrorsOnly && len(h.Mirrors) == 0 {
		return errors.New("mirrorsOnly needs mirrors")
	}
	for _, mirror := range h.Mirrors {
		if _, err := name.NewRepository(mirror+"/any", name.StrictValidation); err != nil {
			return fmt.Errorf("mirror %.100q is not a host, or a host with a folder, such as mirror.example.com/docker-hub", mirror)
		}
	}
	return nil
}

// host returns the configuration of a registry by its canonical name.
func (c *Config) host(canonical string) Host {
	host, ok := c.Hosts[canonical]
	if !ok {
		host.RequestsPerSecond = defaultRequestsPerSecond
	}
	if host.Username == "" && host.DockerConfigFile == "" && host.Provider == "" && !host.Vault.Given() {
		host.DockerConfigFile = c.DockerConfigFile
	}
	return host
}
