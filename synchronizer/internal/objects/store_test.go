package objects_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
)

// put stores content under its own name.
func put(t *testing.T, store *objects.Store, kind gitobject.Type, content []byte) gitobject.ID {
	t.Helper()
	id, err := gitobject.Hash(gitobject.SHA1, kind, content)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(id, kind, content); err != nil {
		t.Fatal(err)
	}
	return id
}

// commitOf stores a commit with two folders of one file each and returns its id and the blobs' ids.
func commitOf(t *testing.T, store *objects.Store, mark string) (commit, dev, prod gitobject.ID) {
	t.Helper()
	folder := func(content string) (tree, blob gitobject.ID) {
		blob = put(t, store, gitobject.TypeBlob, []byte(content))
		return put(t, store, gitobject.TypeTree, gitobject.Tree{{Mode: gitobject.ModeFile, Name: "a.yaml", ID: blob}}.Encode()), blob
	}
	devTree, dev := folder("dev " + mark)
	prodTree, prod := folder("prod " + mark)
	root := put(t, store, gitobject.TypeTree, gitobject.Tree{
		{Mode: gitobject.ModeDir, Name: "dev", ID: devTree}, {Mode: gitobject.ModeDir, Name: "prod", ID: prodTree},
	}.Encode())
	who := gitobject.Person{Name: "a", Email: "a@b", When: time.Unix(1, 0)}
	raw := (&gitobject.Commit{Tree: root, Author: who, Committer: who, Message: mark}).Encode()
	return put(t, store, gitobject.TypeCommit, raw), dev, prod
}

func open(t *testing.T) (*objects.Store, string) {
	t.Helper()
	dir := t.TempDir()
	store, err := objects.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store, dir
}

func TestPutRefusesWhatDoesNotHashToItsName(t *testing.T) {
	t.Parallel()
	store, _ := open(t)
	id := put(t, store, gitobject.TypeBlob, []byte("good"))
	other, _ := gitobject.Hash(gitobject.SHA1, gitobject.TypeBlob, []byte("other"))
	if err := store.Put(other, gitobject.TypeBlob, []byte("evil")); !fault.Is(err, fault.Invalid) {
		t.Errorf("Put(evil): got %v, want Invalid", err)
	}
	if err := store.Put(id, gitobject.TypeTree, []byte("good")); !fault.Is(err, fault.Invalid) {
		t.Errorf("Put(as another type): got %v, want Invalid", err)
	}
	if store.Has(other) {
		t.Error("Has(refused): got true")
	}
}

func TestADamagedObjectIsGoneAndCanComeAgain(t *testing.T) {
	t.Parallel()
	store, dir := open(t)
	id := put(t, store, gitobject.TypeBlob, []byte("good"))
	path := filepath.Join(dir, id.String()[:2], id.String()[2:])
	if err := os.WriteFile(path, []byte("blob\x00bad!"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Blob(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Errorf("Blob(damaged): got %v, want NotFound", err)
	}
	put(t, store, gitobject.TypeBlob, []byte("good"))
	if got, err := store.Blob(t.Context(), id); err != nil || string(got) != "good" {
		t.Errorf("Blob(again): got %q, %v", got, err)
	}
}

func TestCompleteLooksOnlyUnderItsPaths(t *testing.T) {
	t.Parallel()
	store, dir := open(t)
	commit, _, prod := commitOf(t, store, "1")
	if err := os.Remove(filepath.Join(dir, prod.String()[:2], prod.String()[2:])); err != nil {
		t.Fatal(err)
	}
	for paths, want := range map[string]bool{"dev": true, "prod": false, "": false, "absent": true} {
		got, err := store.Complete(t.Context(), commit, []string{paths})
		if err != nil || got != want {
			t.Errorf("Complete(%q): got %v, %v; want %v", paths, got, err, want)
		}
	}
}

func TestCollectKeepsWhatRootsNeed(t *testing.T) {
	t.Parallel()
	store, dir := open(t)
	old, oldDev, _ := commitOf(t, store, "1")
	now, dev, prod := commitOf(t, store, "2")
	if err := os.WriteFile(filepath.Join(dir, "tmp", "left over"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	removed, err := store.Collect(t.Context(), []objects.Root{{Commit: now, Paths: []string{"dev"}}})
	if err != nil {
		t.Fatal(err)
	}
	// Of the old commit: itself, its root, two folders, two blobs. Of the new: prod's folder and blob. And the left-over.
	if want := 6 + 2 + 1; removed != want {
		t.Errorf("Collect: removed %d, want %d", removed, want)
	}
	for id, want := range map[gitobject.ID]bool{old: false, oldDev: false, now: true, dev: true, prod: false} {
		if store.Has(id) != want {
			t.Errorf("Has(%s): got %v, want %v", id, !want, want)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	store, err := objects.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for i := range b.N {
		content := fmt.Appendf(nil, "%01024d", i)
		id, _ := gitobject.Hash(gitobject.SHA1, gitobject.TypeBlob, content)
		if err := store.Put(id, gitobject.TypeBlob, content); err != nil {
			b.Fatal(err)
		}
	}
}
