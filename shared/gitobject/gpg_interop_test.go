package gitobject_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// gpg runs the real one with keys of the repository's own.
func (r repository) gpg(args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "gpg", append([]string{"--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir}
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("gpg %v: %v\n%s", args, err, messages.String())
	}
	return string(out)
}

func newGPGRepository(t *testing.T, a gitobject.Algorithm) repository {
	t.Helper()
	for _, program := range []string{"gpg", "gpgconf"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	r := newRepository(t, a)
	t.Cleanup(func() {
		end := exec.CommandContext(context.WithoutCancel(t.Context()), "gpgconf", "--kill", "all")
		end.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir}
		_ = end.Run()
	})
	// A primary key that certifies only, and a subkey that signs, as most people have them.
	r.gpg("--quick-generate-key", "Ben <ben@example.com>", "ed25519", "cert", "never")
	fields := bytes.Split([]byte(r.gpg("--list-keys", "--with-colons")), []byte(":"))
	var fingerprint string
	for i, field := range fields {
		if bytes.HasSuffix(field, []byte("\nfpr")) {
			fingerprint = string(fields[i+9])
			break
		}
	}
	r.gpg("--quick-add-key", fingerprint, "ed25519", "sign", "1y")
	r.git(nil, "config", "user.signingKey", "ben@example.com")
	return r
}

func TestGPGOfGit(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms() {
		t.Run(a.String(), func(t *testing.T) {
			t.Parallel()
			r := newGPGRepository(t, a)
			public := r.gpg("--armor", "--export", "ben@example.com")
			tree := r.write(a, gitobject.TypeTree, nil)
			id := r.git([]byte("ünï\n"), "commit-tree", "-S", tree.String())
			commit, err := gitobject.DecodeCommit(a, r.read(id, gitobject.TypeCommit))
			if err != nil {
				t.Fatal(err)
			}
			if by, err := verifyGPG(public, commit.SignedPayload(), commit.Signature); err != nil || !by.Signs || by.Until.IsZero() {
				t.Errorf("commit verified by %+v, %v", by, err)
			}
			r.git(nil, "tag", "-s", "-m", "one", "v1", id)
			tag, err := gitobject.DecodeTag(a, r.read("v1", gitobject.TypeTag))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verifyGPG(public, tag.SignedPayload(), tag.Signature); err != nil {
				t.Errorf("tag: %v", err)
			}

			signer, err := gitobject.ParseGPGSigner([]byte(r.gpg("--armor", "--export-secret-keys", "ben@example.com")), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			ours := &gitobject.Commit{Tree: tree, Author: person("Ann"), Committer: person("Ben"), Message: "ours\n"}
			if ours.Signature, err = signer.Sign(ours.SignedPayload(), time.Now()); err != nil {
				t.Fatal(err)
			}
			r.git(nil, "verify-commit", r.write(a, gitobject.TypeCommit, ours.Encode()).String())
		})
	}
}
