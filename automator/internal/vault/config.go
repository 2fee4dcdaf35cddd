package vault

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"

	"github.com/tandem-cd/tandem/automator/internal/tlsfiles"
)

// Config says how to reach a Vault, and how it knows us. Files are read again for each connection and each login.
type Config struct {
	// Address is where its API is: "https://vault.example.com:8200". Empty asks no Vault.
	Address string `yaml:"address"`
	// Insecure lets Address be http://.
	Insecure bool `yaml:"insecure"`
	// Namespace is that of the auth method and of the secrets, where Vault has namespaces.
	Namespace string `yaml:"namespace"`
	// CAFile has the certificates in PEM that Vault's is checked against; empty means the system's.
	CAFile string `yaml:"caFile"`
	// ClientCertFile and ClientKeyFile are a certificate in PEM, and its key, that Vault is shown.
	ClientCertFile string `yaml:"clientCertFile"`
	ClientKeyFile  string `yaml:"clientKeyFile"`
	// RedirectHosts are hosts, besides those of the site of Address, that a standby node may send us to: they are shown tokens.
	RedirectHosts []string `yaml:"redirectHosts"`
	// Auth is how Vault knows us.
	Auth Auth `yaml:"auth"`
}

// Auth has exactly one of Vault's auth methods.
type Auth struct {
	// Token is a token that something else gets, such as Vault's agent.
	Token TokenAuth `yaml:"token"`
	// AppRole logs in by a role's id and a secret id.
	AppRole AppRoleAuth `yaml:"appRole"`
	// Kubernetes logs in by the token of a service account, which Vault has reviewed by the API server.
	Kubernetes JWTAuth `yaml:"kubernetes"`
	// JWT logs in by a signed token, such as that of a service account, whose issuer Vault knows.
	JWT JWTAuth `yaml:"jwt"`
}

// TokenAuth is a token in a file.
type TokenAuth struct {
	// File is read again whenever the token is renewed or not taken.
	File string `yaml:"file"`
}

// AppRoleAuth is the auth method approle.
type AppRoleAuth struct {
	// Mount is the path that the method is enabled at; empty means approle.
	Mount string `yaml:"mount"`
	// RoleID is the id of the role.
	RoleID string `yaml:"roleID"`
	// SecretIDFile holds a secret id. It must be good for many logins, or be replaced in time.
	SecretIDFile string `yaml:"secretIDFile"`
}

// JWTAuth is the auth method kubernetes, or jwt.
type JWTAuth struct {
	// Mount is the path that the method is enabled at; empty means its name.
	Mount string `yaml:"mount"`
	// Role is the role to log in as.
	Role string `yaml:"role"`
	// TokenFile holds the token that proves who we are; for kubernetes empty means where Pods have it.
	TokenFile string `yaml:"tokenFile"`
}

// serviceAccountToken is where Pods have the token of their service account.
const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // a path

// Given reports whether there is a Vault to ask.
func (c *Config) Given() bool { return c.Address != "" }

// Validate returns every problem joined.
func (c *Config) Validate() error {
	if !c.Given() {
		rest := *c
		rest.RedirectHosts = nil
		if len(c.RedirectHosts) > 0 || !reflect.ValueOf(rest).IsZero() {
			return errors.New("address is missing, such as https://vault.example.com:8200")
		}
		return nil
	}
	var problems []error
	if _, err := c.base(); err != nil {
		problems = append(problems, err)
	}
	if (c.ClientCertFile == "") != (c.ClientKeyFile == "") {
		problems = append(problems, errors.New("clientCertFile and clientKeyFile go together"))
	}
	for _, host := range c.RedirectHosts {
		if host == "" || strings.ContainsAny(host, ":/ ") {
			problems = append(problems, fmt.Errorf("redirectHosts: %.100q is not the name of a host, such as vault-1.example.net", host))
		}
	}
	if _, err := c.Auth.method(); err != nil {
		problems = append(problems, fmt.Errorf("auth: %w", err))
	}
	return errors.Join(problems...)
}

// base is where the API is.
func (c *Config) base() (*url.URL, error) {
	base, err := url.Parse(c.Address)
	switch {
	case err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" || strings.Trim(base.Path, "/") != "":
		return nil, errors.New("address is not of the form https://vault.example.com:8200")
	case base.Scheme == "http" && !c.Insecure:
		return nil, errors.New("address is http://, by which tokens and passwords are sent in the clear; say insecure if that is meant")
	case base.Scheme != "http" && base.Scheme != "https":
		return nil, errors.New("address is neither https:// nor http://")
	}
	return base, nil
}

// connection reads what connections are made with.
func (c *Config) connection() (*tls.Config, error) {
	return tlsfiles.Files{CAFile: c.CAFile, CertFile: c.ClientCertFile, KeyFile: c.ClientKeyFile}.Client()
}
