package automator

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/authority"
	"github.com/tandem-cd/tandem/automator/internal/githost"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/message"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/automator/internal/tlsfiles"
	"github.com/tandem-cd/tandem/automator/internal/traces"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/automator/internal/vault"
	"github.com/tandem-cd/tandem/automator/internal/verify"
	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/shared/telemetry/admin"
)

// Defaults of the configuration.
const (
	// DefaultScanInterval is how often a repository of images is looked at when no webhook says that it changed.
	DefaultScanInterval = 5 * time.Minute
	// DefaultPollInterval is how often a Git repository is fetched when no webhook says that it changed.
	DefaultPollInterval = 30 * time.Second
	// DefaultBranch is where pipelines live, and edits go unless an environment names another branch.
	DefaultBranch = "main"
	// MaxBranches bounds the branches of one repository that are written: each has a writer of its own.
	MaxBranches = 100
)

// Config is the automator's configuration file. Secrets are named by file.
type Config struct {
	// Listen is the address that clusters and people connect to.
	Listen string `yaml:"listen"`
	// Authority signs clusters and this server's own certificate: with it clusters enroll themselves.
	Authority authority.Config `yaml:"authority"`
	// TLS identifies this server by files instead, when something else hands out certificates; its CA signs clusters and
	// people.
	TLS rpc.TLSFiles `yaml:"tls"`
	// Admins are the users who may enroll and revoke clusters and take backups: the names in certificates of
	// `tandem ca user`. Nobody by default.
	Admins []string `yaml:"admins"`
	// Proxy is for automators behind a proxy that ends TLS.
	Proxy ProxyConfig `yaml:"proxy"`
	// StateDir holds the mirrors, and the store unless that is elsewhere. Losing it costs the event history and a fresh
	// clone, nothing else.
	StateDir string `yaml:"stateDir"`
	// Store says how long events and tags are remembered, and may name a PostgreSQL database for them; a file in stateDir
	// by default.
	Store store.Config `yaml:"store"`
	// Log says how logs are written.
	Log telemetry.LogConfig `yaml:"log"`
	// Admin is the address of /healthz, /readyz and /metrics; empty serves none.
	Admin string `yaml:"admin"`
	// Debug is a loopback address, such as 127.0.0.1:6060, for profiles of net/http/pprof; empty serves none.
	Debug string `yaml:"debug"`
	// Traces says where traces of releases go; nowhere by default.
	Traces traces.Config `yaml:"traces"`
	// Webhook takes hints from registries and Git hosts.
	Webhook WebhookConfig `yaml:"webhook"`
	// Signing is who makes commits.
	Signing SigningConfig `yaml:"signing"`
	// Repositories are the Git repositories that hold pipelines and manifests.
	Repositories []RepositoryConfig `yaml:"repositories"`
	// Registries says how to reach registries that need more than their name.
	Registries registry.Config `yaml:"registries"`
	// Vault is a HashiCorp Vault, or an OpenBao, that has credentials of registries and Git hosts.
	Vault vault.Config `yaml:"vault"`
	// Verification has the keys that images are signed with, and whose identities are believed.
	Verification verify.Config `yaml:"verification"`
	// ScanInterval is how often each repository of images is looked at; 5m by default.
	ScanInterval config.Duration `yaml:"scanInterval"`
}

// ProxyConfig lets callers in whose TLS a proxy ends: they show a signed pass with every call instead of a certificate.
type ProxyConfig struct {
	// Names are the host names by which clusters and people call the proxy. Without any, passes do not count.
	Names []string `yaml:"names"`
	// Listen is an address without TLS for a proxy that speaks none to what is behind it; empty serves none. Only the
	// proxy may reach it.
	Listen string `yaml:"listen"`
}

// WebhookConfig is the listener for hints.
type WebhookConfig struct {
	// Listen is its address; empty serves no webhooks.
	Listen string `yaml:"listen"`
	// TokenFile holds the secret that callers show, or sign their bodies with, whoever they are: the caller "default".
	TokenFile string `yaml:"tokenFile"`
	// Callers have secrets of their own.
	Callers []WebhookCaller `yaml:"callers"`
	// GoogleKeys is the address of the keys that sign Pub/Sub's tokens, where it is not Google's own.
	GoogleKeys string `yaml:"googleKeys"`
	// Hosts maps the host that a registry calls itself in notifications to the host that pipelines write.
	Hosts map[string]string `yaml:"hosts"`
}

// WebhookCaller is a registry or a Git host that may call.
type WebhookCaller struct {
	// Name stands in metrics and logs.
	Name string `yaml:"name"`
	// TokenFiles hold the secrets that it may show or sign with: two while one takes the place of the other. They are read
	// again every 15 seconds.
	TokenFiles []string `yaml:"tokenFiles"`
	// Google identifies a push subscription of Pub/Sub by the tokens that it sends, instead.
	Google WebhookGoogle `yaml:"google"`
}

// WebhookGoogle is what a push subscription was told of its authentication.
type WebhookGoogle struct {
	// Audience is whom the tokens are for.
	Audience string `yaml:"audience"`
	// Email is the service account that pushes.
	Email string `yaml:"email"`
}

// SigningConfig is the identity of the automator's commits.
type SigningConfig struct {
	// Name and Email stand in every commit.
	Name  string `yaml:"name"`
	Email string `yaml:"email"`
	// SSHKeyFile is the private key that signs; clusters verify with its public half. None is needed if all commits are made
	// by API.
	SSHKeyFile string `yaml:"sshKeyFile"`
	// GPGKeyFile is an armored private key of OpenPGP that signs instead.
	GPGKeyFile string `yaml:"gpgKeyFile"`
}

// RepositoryConfig is one Git repository.
type RepositoryConfig struct {
	// Name is how clusters and people call it.
	Name string `yaml:"name"`
	// URL is the remote: https://, http://, ssh:// or user@host:path.
	URL string `yaml:"url"`
	// Branch is where pipelines live, and environments that name no branch; main by default.
	Branch string `yaml:"branch"`
	// Branches are others of the same repository that environments may be on.
	Branches []string `yaml:"branches"`
	// Commit is how commits get there: push, the default, or api, by which GitHub makes and signs them as its App.
	Commit string `yaml:"commit"`
	// Auth is how the remote knows us.
	Auth AuthConfig `yaml:"auth"`
	// CAFile holds the CA of an https remote; the system's by default.
	CAFile string `yaml:"caFile"`
	// ClientCertFile and ClientKeyFile are a certificate in PEM, and its key, that an https remote is shown. Both are read
	// again for every connection.
	ClientCertFile string `yaml:"clientCertFile"`
	ClientKeyFile  string `yaml:"clientKeyFile"`
	// PollInterval is how often it is fetched when no webhook says that it changed; 30s by default.
	PollInterval config.Duration `yaml:"pollInterval"`
	// Message is how commits are worded; as always where it says nothing.
	Message message.Config `yaml:"message"`
}

// AuthConfig is how a Git host knows us.
type AuthConfig struct {
	// SSHKeyFile and KnownHostsFile are for ssh remotes; host keys are checked strictly.
	SSHKeyFile     string `yaml:"sshKeyFile"`
	KnownHostsFile string `yaml:"knownHostsFile"`
	// Username and PasswordFile are for http remotes; the file holds a password or token. By https it is sent encrypted; by
	// http it is not.
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"passwordFile"`
	// Vault is a secret of a Vault that has the password of an https remote instead.
	Vault vault.Secret `yaml:"vault"`
	// GitHubApp has GitHub give tokens for an https remote instead.
	GitHubApp GitHubAppConfig `yaml:"githubApp"`
}

// GitHubAppConfig is a GitHub App that is installed at the owner of a repository, with the right to write contents.
type GitHubAppConfig struct {
	// ID is the App's id or client id.
	ID string `yaml:"id"`
	// Installation is the number of its installation, the end of the address of its settings.
	Installation string `yaml:"installation"`
	// KeyFile holds a private key of the App; it is read again for every token.
	KeyFile string `yaml:"keyFile"`
	// API is the address of the API, where it is neither api.github.com nor below /api/v3 of the remote's host.
	API string `yaml:"api"`
}

// Validate fills defaults and returns every problem.
func (c *Config) Validate() error {
	var problems []error
	require := func(value, key, why string) {
		if value == "" {
			problems = append(problems, fmt.Errorf("%s is missing: %s", key, why))
		}
	}
	require(c.Listen, "listen", "the address that clusters connect to, such as 0.0.0.0:9443")
	problems = append(problems, c.validateIdentity())
	if err := admin.CheckDebug(c.Debug); err != nil {
		problems = append(problems, fmt.Errorf("debug: %w", err))
	}
	problems = append(problems, c.Traces.Validate())
	require(c.StateDir, "stateDir", "a folder that survives restarts")
	if c.StateDir != "" {
		c.Store.Path = filepath.Join(c.StateDir, store.FileName)
		if err := c.Store.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("store: %w", err))
		}
	}
	if err := c.Verification.Validate(); err != nil {
		problems = append(problems, fmt.Errorf("verification: %w", err))
	}
	problems = append(problems, c.validateVault())
	require(c.Signing.Name, "signing.name", "who makes commits")
	require(c.Signing.Email, "signing.email", "who makes commits")
	if c.pushes() {
		require(c.Signing.SSHKeyFile+c.Signing.GPGKeyFile, "signing.sshKeyFile", "the key that signs commits; make one with ssh-keygen -t ed25519")
	}
	if c.Signing.SSHKeyFile != "" && c.Signing.GPGKeyFile != "" {
		problems = append(problems, errors.New("signing.sshKeyFile and signing.gpgKeyFile are both given; a commit has one signature"))
	}
	if c.Webhook.Listen != "" && len(c.Webhook.Callers) == 0 {
		require(c.Webhook.TokenFile, "webhook.tokenFile", "the secret that callers show, or sign their bodies with")
	}
	if len(c.Repositories) == 0 {
		problems = append(problems, errors.New("repositories is empty: name at least one Git repository"))
	}
	return errors.Join(append(problems, c.validateRepositories())...)
}

// validateIdentity checks how this server and its callers are known.
func (c *Config) validateIdentity() error {
	files := c.TLS != rpc.TLSFiles{}
	switch {
	case files && c.Authority.Given():
		return errors.New("both authority and tls are given: remove tls to let clusters enroll, or authority to go on with certificates in files")
	case !files && !c.Authority.Given():
		return errors.New("authority is missing: certFile, keyFile and serverNames (make the files with `tandem ca create`), or tls with certificates in files")
	case !files:
		if len(c.Proxy.Names) == 0 && c.Proxy.Listen != "" {
			return errors.Join(c.Authority.Validate(), errors.New("proxy.names is empty: the host names by which clusters call the proxy at proxy.listen"))
		}
		return c.Authority.Validate()
	}
	var problems []error
	for key, value := range map[string]string{"tls.cert": c.TLS.Cert, "tls.key": c.TLS.Key, "tls.ca": c.TLS.CA} {
		if value == "" {
			problems = append(problems, fmt.Errorf("%s is missing: a file in PEM", key))
		}
	}
	if len(c.Proxy.Names) > 0 || c.Proxy.Listen != "" {
		problems = append(problems, errors.New("proxy needs authority: passes are signed by keys whose certificates it issued"))
	}
	return errors.Join(problems...)
}

// validateVault checks how Vault is reached, and what is to be read there.
func (c *Config) validateVault() error {
	var problems []error
	note := func(err error, format string, args ...any) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err))
		}
	}
	note(c.Vault.Validate(), "vault")
	check := func(secret vault.Secret) error {
		if !c.Vault.Given() {
			return errors.New("a secret of a Vault is named, and vault.address is missing")
		}
		return secret.Validate()
	}
	for _, host := range slices.Sorted(maps.Keys(c.Registries.Hosts)) {
		if secret := vault.Secret(c.Registries.Hosts[host].Vault); secret.Given() {
			note(check(secret), "registries.hosts.%s.vault", host)
		}
	}
	for i, r := range c.Repositories {
		if secret := r.Auth.Vault; secret.Given() {
			note(check(secret), "repositories[%d].auth.vault", i)
			note(r.Auth.validateVault(), "repositories[%d].auth", i)
		}
	}
	return errors.Join(problems...)
}

// validateVault wants a password to come from one place.
func (c AuthConfig) validateVault() error {
	switch {
	case c.PasswordFile != "" || githost.App(c.GitHubApp).Given():
		return errors.New("the password comes from vault, from passwordFile or by githubApp; remove all but one of them")
	case c.Vault.DockerConfigField != "":
		return errors.New("vault.dockerConfigField is for registries")
	}
	return nil
}

// pushes tells whether any commit is made here.
func (c *Config) pushes() bool {
	return len(c.Repositories) == 0 || slices.ContainsFunc(c.Repositories, func(r RepositoryConfig) bool { return r.Commit != commitByAPI })
}

func (c *Config) validateRepositories() error {
	var problems []error
	seen := map[string]bool{}
	for i := range c.Repositories {
		r := &c.Repositories[i]
		if r.Branch == "" {
			r.Branch = DefaultBranch
		}
		for _, problem := range r.validateBranches() {
			problems = append(problems, fmt.Errorf("repositories[%d]: %w", i, problem))
		}
		app := githost.App(r.Auth.GitHubApp)
		if app.Given() {
			if err := app.Validate(r.URL); err != nil {
				problems = append(problems, fmt.Errorf("repositories[%d].auth.githubApp: %w", i, err))
			}
		}
		if _, err := message.Parse(r.Message); err != nil {
			problems = append(problems, fmt.Errorf("repositories[%d].message: %w", i, err))
		}
		switch {
		case r.Commit == "", r.Commit == commitByPush:
		case r.Commit != commitByAPI:
			problems = append(problems, fmt.Errorf("repositories[%d].commit is %q: write push or api", i, r.Commit))
		case !app.Given():
			problems = append(problems, fmt.Errorf("repositories[%d].commit: api needs auth.githubApp: of all hosts' APIs only GitHub's makes a commit on condition of where the branch is", i))
		}
		if seen[r.Name] {
			problems = append(problems, fmt.Errorf("repositories[%d]: name %q is given twice", i, r.Name))
		}
		seen[r.Name] = true
	}
	return errors.Join(problems...)
}

// validateBranches returns what is wrong with the name and the branches.
func (r RepositoryConfig) validateBranches() []error {
	var problems []error
	if len(r.Branches) > MaxBranches {
		problems = append(problems, fmt.Errorf("branches: %d of them, more than %d", len(r.Branches), MaxBranches))
	}
	seen := map[string]bool{}
	for _, branch := range r.branches() {
		switch err := (revision.Source{Repository: r.Name, Ref: revision.BranchRef(branch)}).Validate(); {
		case err != nil:
			problems = append(problems, err)
		case branch == "" || strings.HasPrefix(branch, "refs/"):
			problems = append(problems, fmt.Errorf("branch %q: write the name alone, such as release", branch))
		case seen[branch]:
			problems = append(problems, fmt.Errorf("branch %q is given twice", branch))
		}
		seen[branch] = true
	}
	return problems
}

const (
	commitByPush = "push"
	commitByAPI  = "api"
)

// ref is the branch with the pipelines.
func (r RepositoryConfig) ref() string { return revision.BranchRef(r.Branch) }

// branches are all that are written, that with the pipelines first.
func (r RepositoryConfig) branches() []string { return append([]string{r.Branch}, r.Branches...) }

// home is where the pipelines are.
func (r RepositoryConfig) home() pipeline.Home {
	return pipeline.Home{Repository: r.Name, Branch: r.Branch, Branches: r.Branches}
}

// mirror says how the repository is mirrored in a folder, or why it cannot be.
func (r RepositoryConfig) mirror(dir string, fromVault func(vault.Secret) (*shortlived.Source, error), pauses *githost.Pauses) (gitrepo.Config, error) {
	mirror := gitrepo.Config{
		Name: r.Name, URL: r.URL, Dir: dir,
		TLS: tlsfiles.Files{CAFile: r.CAFile, CertFile: r.ClientCertFile, KeyFile: r.ClientKeyFile},
		Auth: gitrepo.Auth{
			SSHKeyFile: r.Auth.SSHKeyFile, KnownHostsFile: r.Auth.KnownHostsFile,
			Username: r.Auth.Username, PasswordFile: r.Auth.PasswordFile,
		},
	}
	var err error
	if app := githost.App(r.Auth.GitHubApp); app.Given() {
		if mirror.Auth.Source, err = app.Source(r.URL, mirror.TLS.Client, pauses); err != nil {
			return mirror, fmt.Errorf("repository %q: auth.githubApp: %w", r.Name, err)
		}
	}
	if r.Auth.Vault.Given() {
		if mirror.Auth.Source, err = fromVault(r.Auth.Vault); err != nil {
			return mirror, fmt.Errorf("repository %q: auth.vault: %w", r.Name, err)
		}
	}
	return mirror, nil
}

// host is what makes commits instead of us; nil if they are pushed. The mirror has what the host is shown.
func (r RepositoryConfig) host(mirror gitrepo.Config, pauses *githost.Pauses) (update.Host, error) {
	if r.Commit != commitByAPI {
		return nil, nil
	}
	commits, err := githost.App(r.Auth.GitHubApp).Commits(r.URL, mirror.Auth.Source, mirror.TLS.Client, pauses)
	if err != nil {
		return nil, fmt.Errorf("repository %q: auth.githubApp: %w", r.Name, err)
	}
	return commits, nil
}

// Load reads the configuration file.
func Load(path string) (Config, error) {
	var cfg Config
	err := config.ReadFile(path, &cfg)
	return cfg, err
}
