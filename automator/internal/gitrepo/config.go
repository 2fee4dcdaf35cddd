package gitrepo

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/automator/internal/tlsfiles"
	"github.com/tandem-cd/tandem/shared/fault"
)

// Config says which repository is mirrored, where to and as whom.
type Config struct {
	// Name is the repository's name in the automator's configuration; errors carry it.
	Name string
	// URL is the remote: https://, http://, ssh:// or user@host:path. It holds no password.
	URL string
	// Dir is the state directory of this one repository. The mirror in it can be lost at any time.
	Dir string
	// Auth is how the remote knows us.
	Auth Auth
	// TLS is how an https remote is connected to. The files are read anew for each connection.
	TLS tlsfiles.Files
	// FetchTimeout bounds a fetch, the first one too; 0 means 10 minutes.
	FetchTimeout time.Duration
	// PushTimeout bounds a push; 0 means 1 minute.
	PushTimeout time.Duration
	// OnChange is told which refs of the mirror moved, by a fetch or by our own push. It must not block.
	OnChange func([]RefChange)
	// Metrics is where metrics are registered; nil counts for nobody. Each mirror needs labels of its own.
	Metrics prometheus.Registerer
}

const (
	defaultFetchTimeout = 10 * time.Minute
	defaultPushTimeout  = time.Minute
	// localTimeout bounds commands that do not leave the machine.
	localTimeout = time.Minute
)

// scpLike is git's short form of an ssh address.
var scpLike = regexp.MustCompile(`^([A-Za-z0-9._-]+@)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[^/:].*$`)

// complete checks a configuration and fills in what was left out.
func (c Config) complete() (Config, error) {
	if c.Name == "" || c.Dir == "" {
		return c, fault.New(fault.Invalid, "repository without a name or a state directory")
	}
	if _, err := protocolOf(c.URL); err != nil {
		return c, fault.New(fault.Invalid, "repository %q: %w", c.Name, err)
	}
	if err := c.checkAccess(); err != nil {
		return c, fault.New(fault.Invalid, "repository %q: %w", c.Name, err)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, err
	}
	c.Dir = dir
	if c.FetchTimeout <= 0 {
		c.FetchTimeout = defaultFetchTimeout
	}
	if c.PushTimeout <= 0 {
		c.PushTimeout = defaultPushTimeout
	}
	if c.Auth.Username == "" {
		c.Auth.Username = "git"
	}
	if c.OnChange == nil {
		c.OnChange = func([]RefChange) {}
	}
	return c, nil
}

// checkAccess refuses what the remote would never be shown, or in the clear.
func (c Config) checkAccess() error {
	secure := strings.HasPrefix(c.URL, "https:")
	switch {
	case c.TLS != tlsfiles.Files{} && !secure:
		return errors.New("certificates are for https; the URL is not https://")
	case (c.TLS.CertFile == "") != (c.TLS.KeyFile == ""):
		return errors.New("clientCertFile and clientKeyFile go together")
	case c.Auth.Source != nil && !secure:
		return errors.New("what a GitHub App or a Vault gives is sent over https only; the URL is not https://")
	case c.Auth.Source != nil && c.Auth.PasswordFile != "":
		return errors.New("the password comes from a file or from a source of tokens; remove one of them")
	}
	return nil
}

// protocolOf names the one protocol that git may speak for this remote. Helpers such as ext:: would run a program.
func protocolOf(remote string) (string, error) {
	if strings.ContainsFunc(remote, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.HasPrefix(remote, "-") {
		return "", fmt.Errorf("URL %q is not an address", remote)
	}
	if scpLike.MatchString(remote) && !strings.Contains(remote, "::") {
		return "ssh", nil
	}
	u, err := url.Parse(remote)
	if err != nil || u.Host == "" {
		// The text of err repeats the URL, and with it a password.
		return "", fmt.Errorf("URL is not https://, ssh:// or user@host:path")
	}
	if _, has := u.User.Password(); has {
		return "", fmt.Errorf("URL of host %q holds a password: put it in a file and name that", u.Host)
	}
	switch u.Scheme {
	case "https", "http", "ssh":
		return u.Scheme, nil
	}
	return "", fmt.Errorf("URL scheme %q is not https, http or ssh", u.Scheme)
}
