package gitobject_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/gitobject/gitobjecttest"
)

// repository is a bare repository behind the real git.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T, a gitobject.Algorithm) repository {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	r := repository{t: t, dir: t.TempDir()}
	r.git(nil, "init", "--quiet", "--bare", "--object-format="+a.String(), ".")
	return r
}

// run gives input to git and returns what it says and whether it agreed.
func (r repository) run(input []byte, args ...string) (string, error) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Dir = r.dir
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com",
		"GIT_COMMITTER_NAME=Ben", "GIT_COMMITTER_EMAIL=ben@example.com",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (r repository) git(input []byte, args ...string) string {
	r.t.Helper()
	out, err := r.run(input, args...)
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

// write stores an object and compares git's name for it with ours.
func (r repository) write(a gitobject.Algorithm, t gitobject.Type, raw []byte) gitobject.ID {
	r.t.Helper()
	want, err := gitobject.Hash(a, t, raw)
	if err != nil {
		r.t.Fatal(err)
	}
	got := r.git(raw, "hash-object", "-t", t.String(), "-w", "--stdin", "--literally")
	if got != want.String() {
		r.t.Fatalf("%s is named %s by git, %s by us", t, got, want)
	}
	return want
}

func (r repository) read(id string, t gitobject.Type) []byte {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", "cat-file", t.String(), id)
	cmd.Dir = r.dir
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git cat-file %s %s: %v", t, id, err)
	}
	return out
}

// signWith makes git sign with key, and believe only that key.
func (r repository) signWith(key gitobjecttest.Key) {
	r.t.Helper()
	private := filepath.Join(r.dir, "key")
	if err := os.WriteFile(private, key.PEM(), 0o600); err != nil {
		r.t.Fatal(err)
	}
	allowed := filepath.Join(r.dir, "allowed")
	line := append([]byte("ben@example.com "), ssh.MarshalAuthorizedKey(key.Signer.PublicKey())...)
	if err := os.WriteFile(allowed, line, 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.git(nil, "config", "gpg.format", "ssh")
	r.git(nil, "config", "user.signingKey", private)
	r.git(nil, "config", "gpg.ssh.allowedSignersFile", allowed)
}

func algorithms() []gitobject.Algorithm {
	return []gitobject.Algorithm{gitobject.SHA1, gitobject.SHA256}
}
