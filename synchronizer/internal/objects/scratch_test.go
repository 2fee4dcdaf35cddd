package objects_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
)

func TestAScratchStaysApart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "objects")
	store, err := objects.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	below := put(t, store, gitobject.TypeBlob, []byte("below"))
	scratch, drop, err := store.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	above := put(t, scratch, gitobject.TypeBlob, []byte("above"))
	put(t, scratch, gitobject.TypeBlob, []byte("below"))
	for _, id := range []gitobject.ID{below, above} {
		if _, err := scratch.Blob(t.Context(), id); err != nil || !scratch.Has(id) {
			t.Errorf("the scratch store lacks %s: %v", id, err)
		}
	}
	if _, err := store.Blob(t.Context(), above); !fault.Is(err, fault.NotFound) || store.Has(above) {
		t.Errorf("the store has what was put on top: %v", err)
	}
	kept := put(t, store, gitobject.TypeBlob, []byte("kept"))
	if _, err := store.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := scratch.Blob(t.Context(), below); err != nil {
		t.Errorf("the scratch store lost what was put into it with what is below: %v", err)
	}
	if scratch.Has(kept) {
		t.Error("what was collected is still there")
	}
	below = put(t, store, gitobject.TypeBlob, []byte("below"))
	if err := drop(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Scratch(); err != nil { // as of a process that is killed
		t.Fatal(err)
	}
	if store, err = objects.Open(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := store.Blob(t.Context(), below); err != nil {
		t.Errorf("the store lost what it had: %v", err)
	}
}
