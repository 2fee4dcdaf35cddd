package gitrepo

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
)

// Auth is how the remote knows us. Every secret is a file, read anew for each command, so that a rotated one is used at
// once.
type Auth struct {
	// SSHKeyFile is the private key for an ssh remote.
	SSHKeyFile string
	// KnownHostsFile holds the host keys an ssh remote may show. Without it no host is known and none is accepted.
	KnownHostsFile string
	// Username goes with the password; empty means "git", which hosts accept beside a token.
	Username string
	// PasswordFile holds the password or token for an http remote. Over http:// it is sent in the clear, as the URL says.
	PasswordFile string
	// Source gives the password instead, and the name if it has one, for an https remote.
	Source *shortlived.Source
}

// access is what a request to the remote carries, and what its connection shows and checks, as of now. Empty credentials
// are none.
type access struct {
	password string
	basic    string      // name and password in the form of HTTP
	tls      *tls.Config // nil for remotes without TLS
}

// access reads what the remote is to be shown now. What is read is kept out of errors from then on.
func (r *Repo) access(ctx context.Context) (access, error) {
	read, err := r.cfg.readAccess(ctx)
	if err != nil {
		kind := fault.Unauthorized
		if fault.Is(err, fault.Unavailable) || ctx.Err() != nil {
			kind = fault.Unavailable
		}
		return read, fault.New(kind, "repository %q: %w", r.cfg.Name, err)
	}
	r.secrets.Add(read.password, read.basic)
	return read, nil
}

func (c Config) readAccess(ctx context.Context) (read access, err error) {
	username := c.Auth.Username
	switch {
	case c.Auth.Source != nil:
		got, err := c.Auth.Source.Credentials(ctx)
		if err != nil {
			return access{}, err
		}
		username, read.password = cmp.Or(got.Username, username), got.Password
	case c.Auth.PasswordFile != "":
		if read.password, err = readPassword(c.Auth.PasswordFile); err != nil {
			return access{}, err
		}
	}
	if read.password != "" {
		read.basic = base64.StdEncoding.EncodeToString([]byte(username + ":" + read.password))
	}
	if strings.HasPrefix(c.URL, "https:") {
		read.tls, err = c.TLS.Client()
	}
	return read, err
}

func readPassword(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	password := strings.TrimRight(string(raw), "\r\n")
	if password == "" || strings.ContainsAny(password, "\r\n\x00") {
		return "", fmt.Errorf("password file %s does not hold one line", file)
	}
	return password, nil
}

// another returns what to show a remote that did not take what it was shown; ok is false where there is nothing else. An
// error says why nobody knows.
func (r *Repo) another(ctx context.Context, shown access) (other access, ok bool, err error) {
	source := r.cfg.Auth.Source
	if source == nil || !source.Refused(shown.password) {
		return access{}, false, nil
	}
	other, err = r.access(ctx)
	if err != nil || other.password != shown.password {
		return other, err == nil, err
	}
	if standing := source.Standing(); standing != nil && standing.Problem != nil {
		return access{}, false, fault.New(fault.KindOf(standing.Problem), "repository %q: the remote refuses the password: %w", r.cfg.Name, standing.Problem)
	}
	return access{}, false, nil
}
