package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/store"
)

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, copied := filepath.Join(dir, "tandem.db"), filepath.Join(dir, "backup")
	live, err := store.Open(t.Context(), store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, live, event(1))
	if _, err := live.Revoke(t.Context(), "cluster", "prod", epoch); err != nil {
		t.Fatal(err)
	}
	if err := live.Snapshot(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy can be read by others: %v, %v", info.Mode(), err)
	}
	if err := live.Snapshot(t.Context(), copied); err == nil {
		t.Error("a copy replaced another")
	}
	mustAppend(t, live, event(2))

	if _, err := store.Restore(t.Context(), copied, store.Config{Path: path}); err == nil {
		t.Fatal("restored under a store that is open")
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	aside, err := store.Restore(t.Context(), copied, store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	restored := openAt(t, path, store.Retention{})
	events, _ := mustList(t, restored, store.EventFilter{}, store.Page{})
	if diff := cmp.Diff([]string{"event 1"}, messages(events)); diff != "" {
		t.Errorf("events after the restore: -want, +got:\n%s", diff)
	}
	id, found, err := restored.Identity(t.Context(), "cluster", "prod")
	if err != nil || !found || !id.Revoked.Equal(epoch) {
		t.Errorf("the revocation after the restore: %v, %v, %v", id.Revoked, found, err)
	}
	before := openAt(t, aside, store.Retention{})
	if events, _ := mustList(t, before, store.EventFilter{}, store.Page{}); len(events) != 2 {
		t.Errorf("%d events in what was set aside, want 2", len(events))
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	s := openAt(t, filepath.Join(dir, "live.db"), store.Retention{})
	mustAppend(t, s, event(1))
	if err := s.Snapshot(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][]byte{"Empty": nil, "Text": []byte("no database"), "CutOff": whole[:len(whole)/2]}
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "tandem.db")
			if err := os.WriteFile(from, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Restore(t.Context(), from, store.Config{Path: to}); err == nil {
				t.Error("Restore(...): no error")
			}
			if _, err := os.Stat(to); err == nil {
				t.Error("something was written")
			}
		})
	}
}
