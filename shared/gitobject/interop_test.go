package gitobject_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/gitobject/gitobjecttest"
)

func person(name string) gitobject.Person {
	when := time.Date(2026, 11, 24, 4, 0, 0, 0, time.FixedZone("", -5*3600))
	return gitobject.Person{Name: name, Email: strings.ToLower(name) + "@example.com", When: when}
}

// writeHistory stores a tree, two commits, of which the second is signed, and
// a signed tag, all encoded by us.
func writeHistory(r repository, a gitobject.Algorithm, key gitobjecttest.Key) (commit, tag gitobject.ID) {
	r.t.Helper()
	blob := r.write(a, gitobject.TypeBlob, []byte("image: nginx\n"))
	var entries []gitobject.Entry
	for _, name := range []string{"a", "a.b", "a-b", "ab", "ä"} {
		entries = append(entries, gitobject.Entry{Mode: gitobject.ModeFile, Name: name, ID: blob})
	}
	sub := r.write(a, gitobject.TypeTree, mustTree(r.t, entries).Encode())
	entries = append(entries[1:],
		gitobject.Entry{Mode: gitobject.ModeDir, Name: "a", ID: sub},
		gitobject.Entry{Mode: gitobject.ModeExec, Name: "run", ID: blob},
		gitobject.Entry{Mode: gitobject.ModeSymlink, Name: "link", ID: blob})
	tree := r.write(a, gitobject.TypeTree, mustTree(r.t, entries).Encode())

	first := &gitobject.Commit{Tree: tree, Author: person("Ann"), Committer: person("Ben"), Message: "first\n"}
	parent := r.write(a, gitobject.TypeCommit, first.Encode())
	second := &gitobject.Commit{
		Tree: tree, Parents: []gitobject.ID{parent}, Author: person("Ann"), Committer: person("Ben"),
		Extra:   []gitobject.Header{{Key: "encoding", Value: "UTF-8"}, {Key: "note", Value: "two\nlines"}},
		Message: "second\n\nbody\n\nTandem-Release: 1\n",
	}
	key.SignCommit(second)
	commit = r.write(a, gitobject.TypeCommit, second.Encode())
	t := &gitobject.Tag{
		Object: commit, Type: gitobject.TypeCommit, Name: "v1", Tagger: person("Ben"), Message: "one\n",
	}
	key.SignTag(t)
	tag = r.write(a, gitobject.TypeTag, t.Encode())
	return commit, tag
}

func mustTree(t testing.TB, entries []gitobject.Entry) gitobject.Tree {
	t.Helper()
	tree, err := gitobject.NewTree(entries)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestGitAcceptsWhatWeEncode(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms() {
		t.Run(a.String(), func(t *testing.T) {
			t.Parallel()
			r := newRepository(t, a)
			key := gitobjecttest.NewKey("ben")
			r.signWith(key)
			commit, tag := writeHistory(r, a, key)
			r.git(nil, "update-ref", "refs/heads/main", commit.String())
			r.git(nil, "update-ref", "refs/tags/v1", tag.String())
			r.git(nil, "fsck", "--strict", "--no-dangling")
			r.git(nil, "verify-commit", commit.String())
			r.git(nil, "verify-tag", tag.String())
			if got := r.git(nil, "log", "-1", "--format=%an %ae %aI %cn %(trailers)", commit.String()); got !=
				"Ann ann@example.com 2026-11-24T04:00:00-05:00 Ben Tandem-Release: 1" {
				t.Errorf("git reads our commit as %q", got)
			}
		})
	}
}

func TestWeAcceptWhatGitSigns(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms() {
		t.Run(a.String(), func(t *testing.T) {
			t.Parallel()
			r := newRepository(t, a)
			key := gitobjecttest.NewKey("ben")
			r.signWith(key)
			tree := r.write(a, gitobject.TypeTree, nil)
			id := r.git([]byte("ünï\n\nSigned-off-by: B\n"), "commit-tree", "-S", tree.String())
			raw := r.read(id, gitobject.TypeCommit)
			commit, err := gitobject.DecodeCommit(a, raw)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(commit.Encode(), raw) {
				t.Errorf("encode(decode(commit)) differs:\n%s\nfrom\n%s", commit.Encode(), raw)
			}
			verify(t, key, commit.SignedPayload(), commit.Signature)

			r.git(nil, "tag", "-s", "-m", "one", "v1", id)
			raw = r.read("v1", gitobject.TypeTag)
			tag, err := gitobject.DecodeTag(a, raw)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(tag.Encode(), raw) {
				t.Errorf("encode(decode(tag)) differs:\n%s\nfrom\n%s", tag.Encode(), raw)
			}
			verify(t, key, tag.SignedPayload(), tag.Signature)
		})
	}
}

func verify(t *testing.T, key gitobjecttest.Key, payload, signature []byte) {
	t.Helper()
	got, err := gitobject.VerifySSH(payload, signature)
	if err != nil {
		t.Fatalf("VerifySSH(...): %v", err)
	}
	if want := key.Signer.PublicKey(); ssh.FingerprintSHA256(got) != ssh.FingerprintSHA256(want) {
		t.Errorf("VerifySSH(...): signed by %s, want %s", ssh.FingerprintSHA256(got), ssh.FingerprintSHA256(want))
	}
}
