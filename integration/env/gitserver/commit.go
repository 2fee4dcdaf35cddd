package gitserver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	mainRef = "refs/heads/main"
	author  = "Test Author <author@example.com>"
	// noCommit is the old value of a ref that is not there yet.
	noCommit = ""
)

// Signer signs a commit's bytes and returns the armored signature that goes
// into its gpgsig header: one of SSH, see SSHSigner, or of OpenPGP.
type Signer func(commit []byte) (signature string, err error)

// Change is what Commit puts on a branch.
type Change struct {
	Ref     string            // refs/heads/main where it is not given
	Files   map[string]string // contents by path
	Remove  []string
	Message string
	Author  string    // in Git's form: Name <email>
	Time    time.Time // now where it is zero
	Signer  Signer    // may be nil
}

// Seed creates a repository, if there is none, and puts files on its main
// branch. It returns the commit.
func (s *Server) Seed(ctx context.Context, repo string, files map[string]string, signer Signer) (string, error) {
	if _, err := s.Git(ctx, repo, "rev-parse", "--git-dir"); err != nil {
		if err := s.Create(ctx, repo); err != nil {
			return "", err
		}
	}
	return s.Commit(ctx, repo, Change{Files: files, Message: "Seed", Signer: signer})
}

// Commit puts a change on a branch, as somebody else's push would have, but
// past the gates. It fails when the branch moves meanwhile.
func (s *Server) Commit(ctx context.Context, repo string, change Change) (string, error) {
	change.Ref = cmp.Or(change.Ref, mainRef)
	change.Author = cmp.Or(change.Author, author)
	change.Message = strings.TrimRight(cmp.Or(change.Message, "Change"), "\n") + "\n"
	if change.Time.IsZero() {
		change.Time = time.Now()
	}
	old, err := s.Tip(ctx, repo, change.Ref)
	if err != nil {
		old = noCommit
	}
	tree, err := s.writeTree(ctx, repo, change, old)
	if err != nil {
		return "", err
	}
	content, err := change.encode(tree, old)
	if err != nil {
		return "", fmt.Errorf("sign commit: %w", err)
	}
	out, err := s.git.run(ctx, repo, content, "hash-object", "-t", "commit", "-w", "--stdin")
	if err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(out))
	_, err = s.git.run(ctx, repo, nil, "update-ref", change.Ref, commit, old)
	return commit, err
}

// writeTree has fast-import write all files in one process, on a ref that goes
// away again, and returns the tree.
func (s *Server) writeTree(ctx context.Context, repo string, change Change, old string) (string, error) {
	ref := "refs/gitserver/" + rand.Text()
	var in bytes.Buffer
	fmt.Fprintf(&in, "commit %s\ncommitter %s now\ndata 0\n", ref, author)
	if old != noCommit {
		fmt.Fprintf(&in, "from %s\n", old)
	}
	for _, path := range change.Remove {
		fmt.Fprintf(&in, "D %s\n", path)
	}
	for _, path := range slices.Sorted(maps.Keys(change.Files)) {
		content := change.Files[path]
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", path, len(content), content)
	}
	if _, err := s.git.run(ctx, repo, in.Bytes(), "fast-import", "--quiet", "--date-format=now"); err != nil {
		return "", err
	}
	out, err := s.git.run(ctx, repo, nil, "rev-parse", "--verify", ref+"^{tree}")
	if err != nil {
		return "", err
	}
	_, err = s.git.run(ctx, repo, nil, "update-ref", "-d", ref)
	return strings.TrimSpace(string(out)), err
}

// encode writes the commit object, signed over everything but the signature.
func (c Change) encode(tree, parent string) ([]byte, error) {
	header := "tree " + tree + "\n"
	if parent != noCommit {
		header += "parent " + parent + "\n"
	}
	stamp := fmt.Sprintf("%s %d +0000", c.Author, c.Time.Unix())
	header += "author " + stamp + "\ncommitter " + stamp + "\n"
	if c.Signer == nil {
		return []byte(header + "\n" + c.Message), nil
	}
	signature, err := c.Signer([]byte(header + "\n" + c.Message))
	if err != nil {
		return nil, err
	}
	// Lines after the first are continued by a space.
	signature = strings.ReplaceAll(strings.TrimSpace(signature), "\n", "\n ")
	return []byte(header + signatureHeader(tree) + " " + signature + "\n\n" + c.Message), nil
}

// signatureHeader is the header for signatures of commits whose trees have such ids.
func signatureHeader(tree string) string {
	if len(tree) == hex.EncodedLen(sha256.Size) {
		return "gpgsig-sha256"
	}
	return "gpgsig"
}
