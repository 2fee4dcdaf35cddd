package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/automator/internal/store/postgrestest"
)

// backup returns a copy of an SQLite store with events.
func backup(t *testing.T, first, n int) string {
	t.Helper()
	dir := t.TempDir()
	source := openAt(t, filepath.Join(dir, "tandem.db"), store.Retention{})
	mustAppend(t, source, events(first, n)...)
	copied := filepath.Join(dir, "backup")
	if err := source.Snapshot(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	return copied
}

// blocked waits until somebody waits for a lock in a database.
func blocked(t *testing.T, database string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), postgrestest.Superuser(database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	eventually(t, func() error {
		var waits bool
		err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
			WHERE d.datname = current_database() AND NOT l.granted)`).Scan(&waits)
		if err == nil && !waits {
			return errors.New("nobody waits for a lock")
		}
		return err
	})
}

// within waits for the end of what was begun, for a minute at most.
func within(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
		return nil
	}
}

// TestPostgresRestoreMendsTexts has texts in a file that SQLite takes and PostgreSQL does not.
func TestPostgresRestoreMendsTexts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	source := openAt(t, filepath.Join(dir, "tandem.db"), store.Retention{})
	fill(t, source)
	copied := filepath.Join(dir, "backup")
	if err := source.Snapshot(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	raw(t, copied, "UPDATE scans SET last_error = CAST(x'610062ff63' AS TEXT)")
	if _, err := store.Restore(t.Context(), copied, cfg); err != nil {
		t.Fatal(err)
	}
	scan, _, err := mustOpen(t, cfg).Tags(t.Context(), "ghcr.io/acme/api")
	if want := "a\ufffdb\ufffdc"; err != nil || scan.LastError != want {
		t.Errorf("Tags(...) = %+q, %v; want %+q", scan.LastError, err, want)
	}
}

// TestPostgresInUseWithoutItsWriter has the connections of an idle store cut, but for the one that listens.
func TestPostgresInUseWithoutItsWriter(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	s := mustOpen(t, cfg)
	heard, cancel := s.Subscribe(store.Events)
	defer cancel()
	running(t, s, func(error) {})
	calm(t, heard)
	postgrestest.Execute(t, cfg.Postgres.Database, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
		WHERE usename = '`+cfg.Postgres.User+`' AND query NOT LIKE 'SELECT value FROM counters%'`)
	if _, err := store.Restore(t.Context(), backup(t, 0, 1), cfg); err == nil || !strings.Contains(err.Error(), "stop all") {
		t.Errorf("Restore(...) under a store that is open: %v", err)
	}
}

// TestPostgresRestoreIsAloneInANewSchema has an automator open the store while the restore makes its schema.
func TestPostgresRestoreIsAloneInANewSchema(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	cfg.Postgres.Schema = "tandem"
	database, copied := cfg.Postgres.Database, backup(t, 0, 1)
	release := hold(t, database, fmt.Sprintf("SELECT pg_advisory_xact_lock(%d, 0)", store.LockSchema))
	done := make(chan error, 1)
	go func() {
		_, err := store.Restore(t.Context(), copied, cfg)
		done <- err
	}()
	blocked(t, database)
	postgrestest.Execute(t, database, "CREATE SCHEMA tandem AUTHORIZATION "+cfg.Postgres.User)
	hold(t, database, fmt.Sprintf("SELECT pg_advisory_xact_lock_shared(%d, hashtext('tandem'))", store.LockUse))
	release()
	if err := within(t, done); err == nil || !strings.Contains(err.Error(), "stop all") {
		t.Errorf("Restore(...) under a store that was opened meanwhile: %v", err)
	}
}

// TestPostgresRestoreNamesWhatItSetAside has a server that refuses to commit.
func TestPostgresRestoreNamesWhatItSetAside(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	before, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, before, events(0, 3)...)
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	postgrestest.Execute(t, cfg.Postgres.Database,
		`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no'; END$$`,
		`CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`)
	copied := backup(t, 10, 1)
	aside := copied + ".before-restore"
	if _, err := store.Restore(t.Context(), copied, cfg); err == nil || !strings.Contains(err.Error(), aside) {
		t.Errorf("Restore(...): %v; want the name of what was set aside", err)
	}
	if seq, err := openAt(t, aside, store.Retention{}).LastSeq(t.Context()); err != nil || seq != 3 {
		t.Errorf("what was set aside ends with event %d, %v; want 3", seq, err)
	}
}

// TestPostgresBackupIsPatient has a server that is not.
func TestPostgresBackupIsPatient(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	fill(t, mustOpen(t, cfg))
	postgrestest.Execute(t, cfg.Postgres.Database, fmt.Sprintf("ALTER DATABASE %s SET idle_in_transaction_session_timeout = '1ms'", cfg.Postgres.Database))
	if err := store.Backup(t.Context(), cfg, filepath.Join(t.TempDir(), "backup")); err != nil {
		t.Error(err)
	}
}

// TestPostgresConnectionsAreBounded has a backup taken while all that may read do.
func TestPostgresConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	cfg.Postgres.MaxConnections = 4
	s := mustOpen(t, cfg)
	heard, cancel := s.Subscribe(store.Events)
	defer cancel()
	running(t, s, unexpected(t))
	calm(t, heard)
	postgrestest.Execute(t, cfg.Postgres.Database, "ALTER ROLE "+cfg.Postgres.User+" CONNECTION LIMIT 4")
	release := hold(t, cfg.Postgres.Database, "LOCK TABLE scans IN ACCESS EXCLUSIVE MODE")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, _, err := s.Tags(t.Context(), "ghcr.io/acme/api"); err != nil {
				t.Error(err)
			}
		})
	}
	blocked(t, cfg.Postgres.Database)
	done, path := make(chan error, 1), filepath.Join(t.TempDir(), "backup")
	go func() { done <- s.Snapshot(t.Context(), path) }()
	release()
	if err := within(t, done); err != nil {
		t.Errorf("Snapshot(...): %v", err)
	}
	wg.Wait()
}
