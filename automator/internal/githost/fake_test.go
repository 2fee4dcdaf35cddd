package githost_test

import (
	"crypto/rsa"
	"path/filepath"
	"testing"

	"github.com/tandem-cd/tandem/automator/githosttest"
	"github.com/tandem-cd/tandem/automator/internal/githost"
)

// newKey makes a key of the App and returns its public half, and the file with the private one.
func newKey(t *testing.T) (*rsa.PublicKey, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "app.pem")
	key, err := githosttest.WriteKey(file)
	if err != nil {
		t.Fatal(err)
	}
	return key, file
}

// newHost starts a fake that knows the App by a key, and has a repository if a folder is given.
func newHost(t *testing.T, app *rsa.PublicKey, dir string) *githosttest.FakeGitHub {
	t.Helper()
	host := githosttest.New(app, dir)
	t.Cleanup(host.Close)
	return host
}

// start starts a fake with a repository, and returns what makes commits there.
func start(t *testing.T, dir string) (*githosttest.FakeGitHub, *githost.Commits) {
	t.Helper()
	key, file := newKey(t)
	host := newHost(t, key, dir)
	app := githost.App{ID: githosttest.AppID, Installation: githosttest.Installation, KeyFile: file, API: host.API()}
	pauses := &githost.Pauses{}
	tokens, err := app.Source(githosttest.Remote, host.Trusting, pauses)
	if err != nil {
		t.Fatal(err)
	}
	commits, err := app.Commits(githosttest.Remote, tokens, host.Trusting, pauses)
	if err != nil {
		t.Fatal(err)
	}
	return host, commits
}
