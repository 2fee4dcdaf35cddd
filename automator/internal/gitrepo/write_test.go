package gitrepo_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

func testSigner(tb testing.TB) ssh.Signer {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return signer
}

func meta(message string, signer ssh.Signer) gitrepo.CommitMeta {
	tandem := gitobject.Person{Name: "Tandem", Email: "tandem@example.com", When: time.Unix(1700000000, 0)}
	said := gitrepo.CommitMeta{Author: tandem, Committer: tandem, Message: message}
	if signer != nil {
		said.Signer = gitobject.SSHSigner{Key: signer}
	}
	return said
}

func TestWriteFiles(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			s, c := seeded(t, map[string]string{"keep": "k\n", "env/dev/app.yaml": "1\n", "env/old/only": "o\n", "run": "r\n"},
				"--object-format="+format)
			if err := os.Chmod(filepath.Join(c.Dir, "run"), 0o755); err != nil {
				t.Fatal(err)
			}
			c.Commit("executable")
			c.Push()
			r := fetched(t, s)
			signer := testSigner(t)
			commit, err := r.WriteFiles(t.Context(), tip(t, r, mainRef), map[string][]byte{
				"env/dev/app.yaml":   []byte("2\n"),
				"env/prod/app.yaml":  []byte("new\n"),
				"env/old/only":       nil,
				"run":                []byte("r2\n"),
				"env/never/was/here": nil,
			}, meta("update\n\nTandem-App: app\n", signer))
			if err != nil {
				t.Fatal(err)
			}
			want := "100644 env/dev/app.yaml\n100644 env/prod/app.yaml\n100644 keep\n100755 run\n"
			got := gitrepotest.Git(t, r.GitDir(), "ls-tree", "-r", "--format=%(objectmode) %(path)", commit.String())
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("files: -want, +got:\n%s", diff)
			}
			if got := gitrepotest.Git(t, r.GitDir(), "show", commit.String()+":env/dev/app.yaml"); got != "2\n" {
				t.Errorf("app.yaml = %q", got)
			}
			gitrepotest.Git(t, r.GitDir(), "fsck", "--strict", "--full")
			verify(t, r, commit, signer)
		})
	}
}

// verify lets git itself check the signature.
func verify(t *testing.T, r *gitrepo.Repo, commit gitobject.ID, signer ssh.Signer) {
	t.Helper()
	allowed := filepath.Join(t.TempDir(), "allowed")
	line := fmt.Sprintf("tandem@example.com %s", ssh.MarshalAuthorizedKey(signer.PublicKey()))
	if err := os.WriteFile(allowed, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	gitrepotest.Git(t, r.GitDir(), "-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", commit.String())
}

func TestWriteFilesRefuses(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n", "dir/b": "2\n"})
	if err := os.Symlink("a", filepath.Join(c.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	c.Commit("link")
	c.Push()
	r := fetched(t, s)
	base := tip(t, r, mainRef)
	for name, tc := range map[string]struct {
		changes map[string][]byte
		want    fault.Kind
	}{
		"Symlink":       {map[string][]byte{"link": []byte("x")}, fault.Conflict},
		"BelowAFile":    {map[string][]byte{"a/b": []byte("x")}, fault.Conflict},
		"OntoADir":      {map[string][]byte{"dir": []byte("x")}, fault.Conflict},
		"FileAndDir":    {map[string][]byte{"n": []byte("x"), "n/m": []byte("y")}, fault.Invalid},
		"DotGit":        {map[string][]byte{".git/config": []byte("x")}, fault.Invalid},
		"Parent":        {map[string][]byte{"../x": []byte("x")}, fault.Invalid},
		"Absolute":      {map[string][]byte{"/x": []byte("x")}, fault.Invalid},
		"NothingIsLeft": {map[string][]byte{"a": nil, "dir/b": nil, "link": nil}, fault.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := r.WriteFiles(t.Context(), base, tc.changes, meta("x", nil)); !fault.Is(err, tc.want) {
				t.Errorf("WriteFiles: %v, want %s", err, tc.want)
			}
		})
	}
	for name, changes := range map[string]map[string][]byte{
		"Same": {"a": []byte("1\n")}, "Absent": {"none": nil}, "None": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := r.WriteFiles(t.Context(), base, changes, meta("x", nil)); !errors.Is(err, gitrepo.ErrUnchanged) {
				t.Errorf("WriteFiles: %v, want ErrUnchanged", err)
			}
		})
	}
}

func TestWriteFirstCommit(t *testing.T) {
	t.Parallel()
	s := gitrepotest.New(t)
	r := fetched(t, s)
	commit, err := r.WriteFiles(t.Context(), gitobject.ID{}, map[string][]byte{"a": []byte("1\n")}, meta("first\n", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{{Ref: "refs/tandem/ledger", New: commit}}); err != nil {
		t.Fatal(err)
	}
	if got := tip(t, r, "refs/tandem/ledger"); got != commit {
		t.Errorf("ledger is at %s, want %s", got, commit)
	}
}
