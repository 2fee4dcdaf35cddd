package store_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/tandem-cd/tandem/automator/internal/store"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

func TestOpenRefusesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	raw := func(statements ...string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for _, s := range statements {
				if _, err := db.ExecContext(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	ours := func(t *testing.T, path string) {
		t.Helper()
		s := openAt(t, path, store.Retention{})
		mustAppend(t, s, event(1))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		reason string
		make   func(*testing.T, string)
		want   string
	}{
		"Text": {"a file that is no database", func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(strings.Repeat("not a database", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
		"Foreign": {"another program's database", raw("CREATE TABLE users (name TEXT)"), "another program"},
		"Newer": {"a schema from the future", func(t *testing.T, path string) {
			t.Helper()
			ours(t, path)
			raw("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")(t, path)
		}, "newer version"},
		"Overwritten": {"pages that are garbage", func(t *testing.T, path string) {
			t.Helper()
			ours(t, path)
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if _, err := file.WriteAt([]byte(strings.Repeat("\xa5", 4096-100)), 100); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
		"Folder": {"a folder", func(t *testing.T, path string) {
			t.Helper()
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is a directory"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "store.db")
			tc.make(t, path)
			s, err := store.Open(t.Context(), store.Config{Path: path})
			if err == nil {
				t.Fatal("opened ", tc.reason, s.Close())
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %q should say %q and name the file", tc.reason, err, tc.want)
			}
		})
	}
}

func TestOpenMakesAPrivateFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a ?#%20 store.db")
	mustAppend(t, openAt(t, path, store.Retention{}), event(1))
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(path + suffix)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%q: %v, %v; want 0600: token hashes will be in it", suffix, info, err)
		}
	}
}

func TestOpenWithoutFolder(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", filepath.Join(t.TempDir(), "missing", "store.db")} {
		if s, err := store.Open(t.Context(), store.Config{Path: path}); err == nil {
			t.Error("want an error", s.Close())
		}
	}
}

func TestRunPrunesUntilItsEnd(t *testing.T) {
	t.Parallel()
	s := openAt(t, filepath.Join(t.TempDir(), "store.db"), store.Retention{EventCount: 1})
	mustAppend(t, s, event(1), event(2))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx, func(err error) { t.Error(err) }) }()
	for {
		if events, _ := mustList(t, s, store.EventFilter{}, store.Page{}); len(events) == 1 {
			break
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run(...): %v", err)
	}
}

// appendForeverTo is set for a child process that appends events until it is killed.
const appendForeverTo = "TANDEM_TEST_APPEND_FOREVER_TO"

// appendForever appends events and prints the number of each batch after it was acknowledged.
func appendForever(path string) {
	s, err := store.Open(context.Background(), store.Config{Path: path})
	var last int64
	if err == nil {
		last, err = s.LastSeq(context.Background())
	}
	for n := int(last); err == nil; n += 3 {
		_, err = s.AppendEvents(context.Background(), []*statusv1.Event{event(n), event(n + 1), event(n + 2)})
		if err == nil {
			_, err = fmt.Fprintln(os.Stdout, n)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestKilledProcessLosesNoAcknowledgedEvent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	next := 0 // the first event that was not acknowledged
	for round := range 3 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), appendForeverTo+"="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for acknowledged := 0; lines.Scan(); acknowledged++ {
			if acknowledged == 20+round*7 {
				// It goes on appending meanwhile: the kill comes in the midst of something.
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			n := 0
			if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
				t.Fatal(err)
			}
			next = n + 3
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		s := openAt(t, path, store.Retention{})
		have := make(map[string]bool)
		for token := ""; ; {
			events, more := mustList(t, s, store.EventFilter{}, store.Page{Size: store.MaxPageSize, Token: token})
			for _, e := range events {
				have[e.GetMessage()] = true
			}
			if token = more; token == "" {
				break
			}
		}
		for n := range next {
			if !have[fmt.Sprintf("event %d", n)] {
				t.Errorf("round %d: event %d was acknowledged and is gone", round, n)
			}
		}
		if len(have)%3 != 0 {
			t.Errorf("round %d: %d events, a batch was cut", round, len(have))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if next < 3*60 {
		t.Errorf("only %d events were acknowledged in three rounds", next)
	}
}
