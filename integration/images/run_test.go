package images_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/images"
)

// nullMajor and nullMinor are /dev/null's, which every container has.
const (
	nullMajor = 1
	nullMinor = 3
	bundle    = "etc/ssl/certs/ca-certificates.crt"
)

// jail is an unpacked image whose programs are run as a container would: as its
// user, with its files and no others.
type jail struct{ dir string }

func newJail(t *testing.T) (j jail, version string) {
	t.Helper()
	if testing.Short() {
		t.Skip("downloads Debian packages once; make images-test does it")
	}
	if os.Getuid() != 0 {
		t.Skip("changes its root directory to the image's, which only root may: run make images-test as root")
	}
	builder, err := images.NewBuilder(t.Context(), images.Options{Platforms: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	trees, err := builder.Tree(t.Context(), images.Specs()[0])
	if err != nil {
		t.Fatal(err)
	}
	j.dir = t.TempDir()
	for folder := j.dir; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil { // the image's user has to pass
			t.Fatal(err)
		}
	}
	for _, tree := range trees {
		if err := tree.Unpack(j.dir); err != nil {
			t.Fatal(err)
		}
	}
	null := filepath.Join(j.dir, "dev", "null")
	err = errors.Join(os.Mkdir(filepath.Dir(null), 0o755), syscall.Mknod(null, syscall.S_IFCHR|0o666, nullMajor<<8|nullMinor), os.Chmod(null, 0o666))
	if err != nil {
		t.Fatal(err)
	}
	return j, builder.Stamp().Version
}

// run runs a program of the image, with nothing of this process's environment.
func (j jail) run(t *testing.T, env []string, command ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Path, cmd.Err = command[0], nil // it is looked up inside
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=/home/tandem"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: j.dir, Credential: &syscall.Credential{Uid: images.UserID, Gid: images.UserID},
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (j jail) write(t *testing.T, name string, content []byte) {
	t.Helper()
	path := filepath.Join(j.dir, name)
	if err := errors.Join(os.WriteFile(path, content, 0o600), os.Chown(path, images.UserID, images.UserID)); err != nil {
		t.Fatal(err)
	}
}

// TestAutomatorImageRuns runs what is in the automator's image: its program, git
// over HTTPS with the bundle of authorities, and git over SSH.
func TestAutomatorImageRuns(t *testing.T) {
	j, version := newJail(t)
	server, repository := serveGit(t, j)
	for want, command := range map[string][]string{
		"git version 2.": {"/usr/bin/git", "--version"},
		"OpenSSH_":       {"/usr/bin/ssh", "-V"},
		version:          {"/usr/bin/tandem-automator", "--version"},
	} {
		if said, err := j.run(t, nil, command...); err != nil || !strings.Contains(said, want) {
			t.Errorf("%v: %q, %v, want %q", command, said, err, want)
		}
	}
	t.Run("HTTPS", func(t *testing.T) { checkHTTPS(t, j, server, repository) })
	t.Run("SSH", func(t *testing.T) {
		said, err := j.run(t, []string{"GIT_SSH_COMMAND=ssh -i /home/tandem/key -o UserKnownHostsFile=/home/tandem/known_hosts -o IdentitiesOnly=yes"},
			"/usr/bin/git", "ls-remote", server.SSHURL(repository))
		if err != nil || !strings.Contains(said, "refs/heads/main") {
			t.Errorf("git ls-remote over ssh: %q, %v", said, err)
		}
	})
}

// serveGit serves a repository, and puts the key that it asks for over SSH into
// the image.
func serveGit(t *testing.T, j jail) (*gitserver.Server, string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	server, err := gitserver.Start(gitserver.Options{AuthorizedKeys: []ssh.PublicKey{key}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	j.write(t, "home/tandem/key", pem.EncodeToMemory(block))
	j.write(t, "home/tandem/known_hosts", []byte(server.KnownHosts()))
	const repository = "team/app"
	if _, err := server.Seed(t.Context(), repository, map[string]string{"app.yaml": "kind: App\n"}, nil); err != nil {
		t.Fatal(err)
	}
	return server, repository
}

// checkHTTPS: the bundle is what git believes. A server whose authority is not in
// it is refused, and accepted once it is.
func checkHTTPS(t *testing.T, j jail, server *gitserver.Server, repository string) {
	t.Helper()
	plain, err := url.Parse(server.URL(repository))
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: plain.Scheme, Host: plain.Host})
	}})
	defer front.Close()
	command := []string{"/usr/bin/git", "ls-remote", front.URL + plain.Path}
	if said, err := j.run(t, nil, command...); err == nil || !strings.Contains(said, "certificate") {
		t.Errorf("git ls-remote from a server of no known authority: %q, %v, want a refusal", said, err)
	}
	path := filepath.Join(j.dir, bundle)
	known, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if count := strings.Count(string(known), "BEGIN CERTIFICATE"); count < 100 {
		t.Errorf("bundle holds %d authorities, want those of Debian", count)
	}
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	if err := os.WriteFile(path, append(known, own...), 0o644); err != nil {
		t.Fatal(err)
	}
	if said, err := j.run(t, nil, command...); err != nil || !strings.Contains(said, "refs/heads/main") {
		t.Errorf("git ls-remote over https: %q, %v", said, err)
	}
}
