package evidence

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/shared/signature"
)

func numbered(i int) signature.Image {
	return signature.Image{Repository: "ghcr.io/acme/web", Digest: fmt.Sprint("sha256:", i)}
}

// age makes what is kept of an image older.
func age(t *testing.T, f folder, image signature.Image, by time.Duration) {
	t.Helper()
	at := time.Now().Add(-by)
	if err := os.Chtimes(f.path(image), at, at); err != nil {
		t.Fatal(err)
	}
}

func TestTheFolderKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	f := folder{filepath.Join(t.TempDir(), "signatures")}
	want := signature.Material{Items: []signature.Item{{Kind: signature.Bundle, Where: "here", Body: []byte("{}"), Annotations: map[string]string{"a": "b"}}}, Skipped: 3}
	if _, found := f.load(numbered(0)); found {
		t.Error("found something where nothing was saved")
	}
	for i := range 2 {
		if err := f.save(numbered(i), want); err != nil {
			t.Fatal(err)
		}
		age(t, f, numbered(i), time.Hour*time.Duration(2-i))
	}
	got, found := f.load(numbered(0)) // it is older, and used
	if diff := cmp.Diff(want, got); !found || diff != "" {
		t.Errorf("load(...): %v, -want, +got:\n%s", found, diff)
	}
	for i := range maxFolder/maxFile - 1 { // as much as there is room for, and all of it newer than the second
		path := f.path(numbered(2 + i))
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, maxFile)); err != nil {
			t.Fatal(err)
		}
		age(t, f, numbered(2+i), time.Minute)
	}
	large := signature.Material{Items: []signature.Item{{Kind: signature.Bundle, Body: make([]byte, signature.MaxRelayed)}}}
	for i := range 2 {
		if err := f.save(numbered(100+i), large); err != nil {
			t.Fatal(err)
		}
	}
	if _, found := f.load(numbered(1)); found {
		t.Error("the folder keeps what is too much")
	}
	if _, found := f.load(numbered(0)); !found {
		t.Error("what was used went before what was not")
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > maxFolder {
		t.Errorf("%d bytes are kept; want at most %d", total, maxFolder)
	}
}

func TestTheFolderKeepsNotTooManyFiles(t *testing.T) {
	t.Parallel()
	f := folder{t.TempDir()}
	for i := range maxFiles {
		path := f.path(numbered(i))
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	age(t, f, numbered(7), time.Hour)
	if err := f.save(numbered(maxFiles), signature.Material{}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(f.dir)
	if _, found := f.load(numbered(7)); err != nil || len(entries) != maxFiles || found {
		t.Errorf("%d files, %v; the oldest is there: %v", len(entries), err, found)
	}
}
