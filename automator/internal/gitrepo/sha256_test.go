package gitrepo_test

import (
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// A repository whose objects are named by SHA-256 is fetched, walked, edited and pushed to like any other.
func TestSHA256(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"apps/a": "1\n", "b": "1\n"}, "--object-format=sha256")
	r := fetched(t, s)
	first := tip(t, r, mainRef)
	if first.Algorithm() != gitobject.SHA256 || r.Algorithm() != gitobject.SHA256 {
		t.Fatalf("tip %s of %s", first, r.Algorithm())
	}
	for _, content := range []string{"2\n", "3\n"} {
		c.Write(map[string]string{"b": content})
		c.Commit(content)
	}
	c.Push()
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	signer := testSigner(t)
	edited, err := r.WriteFiles(t.Context(), tip(t, r, mainRef), map[string][]byte{"apps/a": []byte("2\n")}, meta("edit\n", signer))
	if err != nil {
		t.Fatal(err)
	}
	verify(t, r, edited, signer)
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{{Ref: mainRef, Old: tip(t, r, mainRef), New: edited}}); err != nil {
		t.Fatal(err)
	}
	if chain, err := r.Chain(t.Context(), first, edited); err != nil || len(chain) != 3 {
		t.Errorf("Chain = %v, %v, want three commits", chain, err)
	}
	if at, ok, err := r.RemoteTip(t.Context(), mainRef); err != nil || !ok || at != edited {
		t.Errorf("RemoteTip = %s, %t, %v, want %s", at, ok, err, edited)
	}
	gitrepotest.Git(t, s.Dir, "fsck", "--strict")
	if err := r.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if commit, err := r.Commit(t.Context(), edited); err != nil || commit.Tree.Algorithm() != gitobject.SHA256 {
		t.Errorf("Commit after Maintain = %+v, %v", commit, err)
	}
}
