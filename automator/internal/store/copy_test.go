package store_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/tandem-cd/tandem/automator/internal/store"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/instant"
)

// events returns n events from the first on.
func events(first, n int) []*statusv1.Event {
	var list []*statusv1.Event
	for i := range n {
		list = append(list, event(first+i, about(byte(i)), image("sha256:a", fmt.Sprint("sha256:", i))))
	}
	return list
}

// fill puts something of every kind into a store: more events than are copied at a time, and 250 of them.
func fill(t *testing.T, s *store.Store) {
	t.Helper()
	mustAppend(t, s, events(0, 250)...)
	tag := store.Tag{Name: "1.0.0", Digest: "sha256:a", FirstSeen: instant.MicrosOf(epoch), Moved: instant.MicrosOf(epoch), Inspected: "sha256:a", Created: instant.MicrosOf(epoch), Platforms: "linux/amd64"}
	for _, err := range []error{
		s.PutTags(t.Context(), "ghcr.io/acme/api", store.Scan{LastAttempt: epoch, LastError: "no answer"}, []store.Tag{tag}),
		s.PutToken(t.Context(), store.Token{Hash: "h", Cluster: "stage", Created: epoch, Expires: epoch.Add(time.Hour), Replace: true, CreatedBy: "user/ann"}),
		s.PutCertificate(t.Context(), store.Identity{Role: "cluster", Name: "prod", Serial: "1", Issued: epoch, Expires: epoch.Add(time.Hour)}, epoch),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Revoke(t.Context(), "user", "bob", epoch); err != nil {
		t.Fatal(err)
	}
}

// sameContent compares everything that two stores can be asked for.
func sameContent(t *testing.T, want, got *store.Store) {
	t.Helper()
	content := func(s *store.Store) []any {
		records, upTo, err := s.EventsSince(t.Context(), 0, store.EventFilter{}, store.MaxPageSize)
		if err != nil {
			t.Fatal(err)
		}
		var sequence []int64
		var list []*statusv1.Event
		for _, r := range records {
			sequence, list = append(sequence, r.Seq), append(list, r.Event)
		}
		digest, _ := mustList(t, s, store.EventFilter{Digest: "sha256:7"}, store.Page{})
		scan, tags, err := s.Tags(t.Context(), "ghcr.io/acme/api")
		if err != nil {
			t.Fatal(err)
		}
		identities, err := s.Identities(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(identities, func(a, b store.Identity) int { return strings.Compare(a.Name, b.Name) })
		return []any{sequence, list, upTo, messages(digest), scan, tags, identities}
	}
	if diff := cmp.Diff(content(want), content(got), protocmp.Transform()); diff != "" {
		t.Errorf("content: -want, +got:\n%s", diff)
	}
}

// raw runs a statement on an SQLite file, past the store.
func raw(t *testing.T, path, statement string, into ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if len(into) > 0 {
		err = db.QueryRowContext(t.Context(), statement).Scan(into...)
	} else {
		_, err = db.ExecContext(t.Context(), statement)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCopiesLeaveOutNoTable fails when a migration makes a table that backups of PostgreSQL would not hold.
func TestCopiesLeaveOutNoTable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tandem.db")
	openAt(t, path, store.Retention{})
	var made string
	raw(t, path, "SELECT group_concat(name) FROM (SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%' ORDER BY name)", &made)
	want := slices.Sorted(slices.Values(store.Tables))
	if diff := cmp.Diff(want, strings.Split(made, ",")); diff != "" {
		t.Errorf("tables: -copied, +made:\n%s", diff)
	}
}
