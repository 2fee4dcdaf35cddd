package node

import (
	"os"
	"testing"
	"time"
)

func age(t *testing.T, h *home) {
	t.Helper()
	old := time.Now().Add(-2 * youngest)
	if err := os.Chtimes(h.dir, old, old); err != nil {
		t.Fatal(err)
	}
}

// TestSweep: what a killed process has left goes, and what is in use stays.
func TestSweep(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var homes []*home
	for range 3 {
		h, err := newHome()
		if err != nil {
			t.Fatal(err)
		}
		defer h.close()
		if err := os.WriteFile(h.path("file"), nil, privateMode); err != nil {
			t.Fatal(err)
		}
		homes = append(homes, h)
	}
	used, left, young := homes[0], homes[1], homes[2]
	age(t, used)
	age(t, left)
	for _, dead := range []*home{left, young} {
		if err := dead.close(); err != nil { // as the kernel does when a process dies
			t.Fatal(err)
		}
	}
	if err := sweep(t.Context()); err != nil {
		t.Fatalf("sweep(...): %v", err)
	}
	for h, want := range map[*home]bool{used: true, left: false, young: true} {
		if _, err := os.Stat(h.path("file")); (err == nil) != want {
			t.Errorf("after sweep(...): used %v, left %v, young %v: %v", h == used, h == left, h == young, err)
		}
	}
}
