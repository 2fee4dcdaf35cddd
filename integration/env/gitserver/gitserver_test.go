package gitserver_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/integration/env/gitserver"
)

const (
	repo = "team/app"
	main = "refs/heads/main"
)

var errBoom = errors.New("boom")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a person with a clone and a key.
type client struct {
	t   *testing.T
	dir string
	env []string
}

func start(t *testing.T, opts gitserver.Options) *gitserver.Server {
	t.Helper()
	server, err := gitserver.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("Stop(): %v", err)
		}
	})
	return server
}

// seeded is a server with one repository of one file.
func seeded(t *testing.T, opts gitserver.Options) *gitserver.Server {
	t.Helper()
	server := start(t, opts)
	if _, err := server.Seed(t.Context(), repo, map[string]string{"app.yaml": "image: a:1\n"}, nil); err != nil {
		t.Fatal(err)
	}
	return server
}

func newClient(t *testing.T) *client {
	t.Helper()
	dir := t.TempDir()
	return &client{t: t, dir: filepath.Join(dir, "clone"), env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=c", "GIT_AUTHOR_EMAIL=c@example.com", "GIT_COMMITTER_NAME=c", "GIT_COMMITTER_EMAIL=c@example.com",
	}}
}

func (c *client) try(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Env, cmd.Dir = c.env, c.dir
	if _, err := os.Stat(c.dir); err != nil {
		cmd.Dir = filepath.Dir(c.dir)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *client) git(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

// clone leaves a commit that is ready to push.
func (c *client) clone(url string) (commit string) {
	c.t.Helper()
	c.git("clone", "--quiet", url, c.dir)
	c.git("commit", "--quiet", "--allow-empty", "--message=mine")
	return c.git("rev-parse", "HEAD")
}

// withKey makes the client one that the server knows by its SSH key.
func (c *client) withKey() ssh.PublicKey {
	c.t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		c.t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		c.t.Fatal(err)
	}
	home := filepath.Dir(c.dir)
	if err := os.WriteFile(filepath.Join(home, "key"), pem.EncodeToMemory(block), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.env = append(c.env, "GIT_SSH_COMMAND=ssh -F none -o IdentitiesOnly=yes -o BatchMode=yes -i "+
		filepath.Join(home, "key")+" -o UserKnownHostsFile="+filepath.Join(home, "known_hosts"))
	return key
}

func (c *client) trust(server *gitserver.Server) {
	c.t.Helper()
	path := filepath.Join(filepath.Dir(c.dir), "known_hosts")
	if err := os.WriteFile(path, []byte(server.KnownHosts()+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// transports runs a test over HTTP and over SSH.
func transports(t *testing.T, test func(t *testing.T, server *gitserver.Server, c *client, url string)) {
	t.Helper()
	t.Run("HTTP", func(t *testing.T) {
		t.Parallel()
		server := seeded(t, gitserver.Options{})
		test(t, server, newClient(t), server.URL(repo))
	})
	t.Run("SSH", func(t *testing.T) {
		t.Parallel()
		if _, err := exec.LookPath("ssh"); err != nil {
			t.Skip("needs the ssh program, which git runs as its client")
		}
		c := newClient(t)
		server := seeded(t, gitserver.Options{AuthorizedKeys: []ssh.PublicKey{c.withKey()}})
		c.trust(server)
		test(t, server, c, server.SSHURL(repo))
	})
}

func tip(t *testing.T, server *gitserver.Server) string {
	t.Helper()
	commit, err := server.Tip(t.Context(), repo, main)
	if err != nil {
		t.Fatal(err)
	}
	return commit
}

func TestPush(t *testing.T) {
	t.Parallel()
	transports(t, func(t *testing.T, server *gitserver.Server, c *client, url string) {
		t.Helper()
		commit := c.clone(url)
		c.git("push", "--quiet", "--atomic", "origin", "main")
		if got := tip(t, server); got != commit {
			t.Errorf("Tip(...): %s, want the pushed %s", got, commit)
		}
		c.git("fetch", "--quiet", "--filter=blob:none", "origin")
	})
}

func TestPushOfNothing(t *testing.T) {
	t.Parallel()
	transports(t, func(t *testing.T, server *gitserver.Server, c *client, url string) {
		t.Helper()
		server.BeforePush(func(context.Context, string) error { return errBoom })
		c.git("clone", "--quiet", url, c.dir)
		c.git("push", "--quiet", "origin", "main") // everything is up to date
	})
}

func TestBeforePushRefuses(t *testing.T) {
	t.Parallel()
	transports(t, func(t *testing.T, server *gitserver.Server, c *client, url string) {
		t.Helper()
		c.clone(url)
		before := tip(t, server)
		server.BeforePush(func(_ context.Context, got string) error {
			if got != repo {
				t.Errorf("gate asked about %q, want %q", got, repo)
			}
			return errBoom
		})
		if out, err := c.try("push", "origin", "main"); err == nil {
			t.Errorf("git push: accepted, want a refusal\n%s", out)
		}
		if got := tip(t, server); got != before {
			t.Errorf("Tip(...): %s, want it unmoved at %s", got, before)
		}
	})
}

func TestBeforePushAnswersWithStatus(t *testing.T) {
	t.Parallel()
	server := seeded(t, gitserver.Options{})
	server.BeforePush(func(context.Context, string) error {
		return &gitserver.RefusedError{Status: http.StatusServiceUnavailable}
	})
	c := newClient(t)
	c.clone(server.URL(repo))
	out, err := c.try("push", "origin", "main")
	if err == nil || !strings.Contains(out, "503") {
		t.Errorf("git push: %v, want status 503\n%s", err, out)
	}
}

func TestBeforePushHolds(t *testing.T) {
	t.Parallel()
	transports(t, func(t *testing.T, server *gitserver.Server, c *client, url string) {
		t.Helper()
		commit := c.clone(url)
		asked, release := make(chan struct{}), make(chan struct{})
		server.BeforePush(func(ctx context.Context, _ string) error {
			close(asked)
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil
		})
		result := make(chan error, 1)
		go func() {
			_, err := c.try("push", "origin", "main")
			result <- err
		}()
		<-asked
		if got := tip(t, server); got == commit {
			t.Error("Tip(...): the push that is held, want it not given to git")
		}
		close(release)
		if err := <-result; err != nil {
			t.Errorf("git push: %v", err)
		}
	})
}

func TestHeldPushLosesToAnother(t *testing.T) {
	t.Parallel()
	transports(t, func(t *testing.T, server *gitserver.Server, c *client, url string) {
		t.Helper()
		c.clone(url)
		server.BeforePush(func(ctx context.Context, _ string) error {
			_, err := server.Commit(ctx, repo, gitserver.Change{Files: map[string]string{"other": ""}})
			return err
		})
		out, err := c.try("push", "origin", "main")
		if err == nil || !strings.Contains(out, "remote rejected") {
			t.Errorf("git push: %v, want the rejection of a moved branch\n%s", err, out)
		}
	})
}

func TestAfterPushCuts(t *testing.T) {
	t.Parallel()
	transports(t, func(t *testing.T, server *gitserver.Server, c *client, url string) {
		t.Helper()
		commit := c.clone(url)
		server.AfterPush(func(context.Context, string) error { return errBoom })
		if out, err := c.try("push", "origin", "main"); err == nil {
			t.Errorf("git push: no error, want a cut connection\n%s", out)
		}
		if got := tip(t, server); got != commit {
			t.Errorf("Tip(...): %s, want %s accepted all the same", got, commit)
		}
	})
}

func TestStopReleasesHeldPush(t *testing.T) {
	t.Parallel()
	server, err := gitserver.Start(gitserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Seed(t.Context(), repo, map[string]string{"a": ""}, nil); err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	server.BeforePush(func(ctx context.Context, _ string) error {
		close(asked)
		<-ctx.Done()
		return nil
	})
	c := newClient(t)
	c.clone(server.URL(repo))
	result := make(chan error, 1)
	go func() {
		_, err := c.try("push", "origin", "main")
		result <- err
	}()
	<-asked
	if err := server.Stop(); err != nil {
		t.Errorf("Stop(): %v", err)
	}
	if err := <-result; err == nil {
		t.Error("git push: no error, want one")
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	server := seeded(t, gitserver.Options{Username: "bot", Password: "secret"})
	c := newClient(t)
	if out, err := c.try("ls-remote", server.URL(repo)); err == nil {
		t.Errorf("git ls-remote without credentials: no error\n%s", out)
	}
	url := strings.Replace(server.URL(repo), "http://", "http://bot:secret@", 1)
	c.clone(url)
	c.git("push", "--quiet", "origin", "main")
}

func TestUnknownKey(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("needs the ssh program, which git runs as its client")
	}
	server := seeded(t, gitserver.Options{})
	c := newClient(t)
	c.withKey()
	c.trust(server)
	if out, err := c.try("ls-remote", server.SSHURL(repo)); err == nil {
		t.Errorf("git ls-remote with an unknown key: no error\n%s", out)
	}
}

func TestCommitAndLog(t *testing.T) {
	t.Parallel()
	server := seeded(t, gitserver.Options{})
	second, err := server.Commit(t.Context(), repo, gitserver.Change{
		Files: map[string]string{"b/c.yaml": "c: 1\n"}, Remove: []string{"app.yaml"},
		Message: "Second\n\nWhy: because\n", Author: "A B <a@example.com>",
	})
	if err != nil {
		t.Fatalf("Commit(...): %v", err)
	}
	log, err := server.Log(t.Context(), repo, main)
	if err != nil {
		t.Fatalf("Log(...): %v", err)
	}
	if len(log) != 2 || log[0].ID != second || log[0].Parents[0] != log[1].ID ||
		log[0].Author != "A B" || strings.TrimSpace(log[0].Message) != "Second\n\nWhy: because" {
		t.Errorf("Log(...): %+v, want the second commit on the first", log)
	}
	if got, err := server.File(t.Context(), repo, main, "b/c.yaml"); err != nil || got != "c: 1\n" {
		t.Errorf("File(...): %q, %v", got, err)
	}
	if _, err := server.File(t.Context(), repo, main, "app.yaml"); err == nil {
		t.Error("File(...) of a removed file: no error, want one")
	}
	refs, err := server.Git(t.Context(), repo, "for-each-ref", "--format=%(refname)")
	if err != nil || strings.TrimSpace(refs) != main {
		t.Errorf("refs: %q, %v, want only %s", refs, err, main)
	}
}

func TestSignedCommitIsVerifiedByGit(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	server := start(t, gitserver.Options{})
	commit, err := server.Seed(t.Context(), repo, map[string]string{"a": "b"}, gitserver.SSHSigner(key))
	if err != nil {
		t.Fatalf("Seed(...): %v", err)
	}
	allowed := filepath.Join(t.TempDir(), "allowed_signers")
	line := append([]byte("author@example.com "), ssh.MarshalAuthorizedKey(key.PublicKey())...)
	if err := os.WriteFile(allowed, bytes.TrimSpace(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("needs the ssh-keygen program, by which git verifies")
	}
	if _, err := server.Git(t.Context(), repo, "-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", commit); err != nil {
		t.Errorf("git verify-commit: %v", err)
	}
}
