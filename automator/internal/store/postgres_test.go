package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/automator/internal/store/postgrestest"
	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/redact"
)

func TestPostgresConfig(t *testing.T) {
	t.Parallel()
	good := func(change func(*store.Postgres)) store.Config {
		cfg := store.Postgres{Hosts: []string{"db.example.com"}, Database: "tandem", User: "tandem"}
		change(&cfg)
		return store.Config{Postgres: cfg}
	}
	tests := map[string]struct {
		reason string
		change func(*store.Postgres)
		want   string
	}{
		"Least": {"a host, a database and a user will do", func(*store.Postgres) {}, ""},
		"HostForms": {"hosts are written in many ways", func(p *store.Postgres) {
			p.Hosts = []string{"a:1", "[::1]:5433", "::1", "/run/postgresql", "/run/x:5433"}
		}, ""},
		"NoHost":         {"a section without a host is a mistake", func(p *store.Postgres) { p.Hosts = nil }, "hosts is empty"},
		"URL":            {"an address may hold a password", func(p *store.Postgres) { p.Hosts = []string{"postgres://tandem:hunter22@db/tandem"} }, "without a user or a password"},
		"Port":           {"a port is a number", func(p *store.Postgres) { p.Hosts = []string{"db:http"} }, "host:port"},
		"NoDatabase":     {"there is no default", func(p *store.Postgres) { p.Database = "" }, "database is missing"},
		"NoUser":         {"there is no default", func(p *store.Postgres) { p.User = "" }, "user is missing"},
		"Mode":           {"a mode that may turn TLS off silently is not offered", func(p *store.Postgres) { p.TLS.Mode = "prefer" }, "verify-full"},
		"CertWithoutKey": {"they belong together", func(p *store.Postgres) { p.TLS.Cert = "tls.crt" }, "belong together"},
		"Schema":         {"a name that needs no quotes", func(p *store.Postgres) { p.Schema = `"; DROP TABLE events` }, "schema"},
		"Few":            {"one writes, one listens, one backs up, one reads", func(p *store.Postgres) { p.MaxConnections = 3 }, "4 to 100"},
		"Many":           {"a server has few", func(p *store.Postgres) { p.MaxConnections = 1000 }, "4 to 100"},
		"Negative":       {"a timeout cannot be", func(p *store.Postgres) { p.StatementTimeout = -1 }, "negative"},
		"Instant":        {"the server counts in milliseconds, and 0 of them are no bound", func(p *store.Postgres) { p.StatementTimeout = 1 }, "at least 1ms"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good(tc.change)
			if tc.want == "" {
				if err := cfg.Validate(); err != nil {
					t.Errorf("%s: %v", tc.reason, err)
				}
				return
			}
			if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter22") {
				t.Errorf("%s: %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// TestOpenPostgresSaysWhatToDo has a database that cannot be used for each reason there is.
func TestOpenPostgresSaysWhatToDo(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		spoil  func(*testing.T, *store.Postgres)
		want   string
	}{
		"NoDatabase": {"nobody made it", func(_ *testing.T, p *store.Postgres) { p.Database = "missing" }, "CREATE DATABASE"},
		"BadPassword": {"the file holds another one", func(t *testing.T, p *store.Postgres) {
			t.Helper()
			write(t, p.PasswordFile, "another password")
		}, "passwordFile"},
		"NoPasswordFile": {"the file is missing", func(_ *testing.T, p *store.Postgres) { p.PasswordFile += ".missing" }, "no such file"},
		"MayNotCreate": {"the role owns nothing", func(t *testing.T, p *store.Postgres) {
			t.Helper()
			postgrestest.Execute(t, p.Database, "ALTER DATABASE "+p.Database+" OWNER TO postgres")
		}, "OWNER TO"},
		"MayNotCreateSchema": {"the role owns nothing", func(t *testing.T, p *store.Postgres) {
			t.Helper()
			p.Schema = "tandem"
			postgrestest.Execute(t, p.Database, "ALTER DATABASE "+p.Database+" OWNER TO postgres")
		}, "OWNER TO"},
		"NoSchema": {"the search path leads nowhere", func(t *testing.T, p *store.Postgres) {
			t.Helper()
			postgrestest.Execute(t, p.Database, "DROP SCHEMA public")
		}, "store.postgres.schema"},
		"Foreign": {"another program's tables", func(t *testing.T, p *store.Postgres) {
			t.Helper()
			postgrestest.Execute(t, p.Database, "CREATE TABLE users (name TEXT)")
		}, "another program"},
		"Newer": {"a schema from the future", func(t *testing.T, p *store.Postgres) {
			t.Helper()
			mustAppend(t, mustOpen(t, store.Config{Postgres: *p}), event(1))
			postgrestest.Execute(t, p.Database, "INSERT INTO tandem_schema (version_id, is_applied) VALUES (9999, true)")
		}, "newer version"},
		"ReadOnly": {"a standby takes no writes", func(t *testing.T, p *store.Postgres) {
			t.Helper()
			postgrestest.Execute(t, p.Database, "ALTER DATABASE "+p.Database+" SET default_transaction_read_only = on")
		}, "standby"},
		"UnknownCA":   {"nobody vouches for the server", func(_ *testing.T, p *store.Postgres) { p.TLS.CA = "" }, "store.postgres.tls.ca"},
		"WithoutTLS":  {"the server wants TLS", func(_ *testing.T, p *store.Postgres) { p.TLS.Mode = "disable" }, "verify-full"},
		"NobodyThere": {"nothing listens", func(_ *testing.T, p *store.Postgres) { p.Hosts = []string{"127.0.0.1:1"} }, "cannot be reached"},
		"NoLogin": {"the role may not", func(t *testing.T, p *store.Postgres) {
			t.Helper()
			postgrestest.Execute(t, p.Database, "ALTER ROLE "+p.User+" NOLOGIN")
		}, "pg_hba.conf"},
		"TooMany": {"the role has no connection left", func(t *testing.T, p *store.Postgres) {
			t.Helper()
			postgrestest.Execute(t, p.Database, "ALTER ROLE "+p.User+" CONNECTION LIMIT 0")
		}, "maxConnections"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := postgrestest.Database(t)
			password, err := config.ReadSecret(cfg.PasswordFile)
			if err != nil {
				t.Fatal(err)
			}
			tc.spoil(t, &cfg)
			s, err := store.Open(t.Context(), store.Config{Postgres: cfg})
			if err == nil {
				t.Fatal("opened although ", tc.reason, s.Close())
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), cfg.Database+" at "+cfg.Hosts[0]) {
				t.Errorf("%s: %q should say %q and name the database", tc.reason, err, tc.want)
			}
			for _, form := range append(redact.Forms(password), "another password") {
				if strings.Contains(err.Error(), form) {
					t.Errorf("%s: the password is in %q", tc.reason, err)
				}
			}
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPostgresSchemas has two stores in one database, beside another program's tables, and an extension's in a schema of theirs.
func TestPostgresSchemas(t *testing.T) {
	t.Parallel()
	cfg := postgrestest.Database(t)
	postgrestest.Execute(t, cfg.Database, "CREATE TABLE events (id TEXT)",
		"CREATE SCHEMA one AUTHORIZATION "+cfg.User, "CREATE TABLE one.spatial_ref_sys ()", "ALTER EXTENSION plpgsql ADD TABLE one.spatial_ref_sys")
	var stores []*store.Store
	for _, schema := range []string{"one", "two"} {
		cfg.Schema = schema
		stores = append(stores, mustOpen(t, store.Config{Postgres: cfg}))
		mustOpen(t, store.Config{Postgres: cfg}) // it is there already
	}
	mustAppend(t, stores[0], event(1), event(2))
	for i, want := range []int{2, 0} {
		if events, _ := mustList(t, stores[i], store.EventFilter{}, store.Page{}); len(events) != want {
			t.Errorf("store %d has %d events, want %d", i, len(events), want)
		}
	}
}

// TestPostgresOpenTogether has replicas that all find an empty database at once.
func TestPostgresOpenTogether(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	cfg.Postgres.Schema = "tandem"
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := store.Open(t.Context(), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestPostgresPasswordIsReplaced has the password changed under an open store.
func TestPostgresPasswordIsReplaced(t *testing.T) {
	t.Parallel()
	cfg := postgrestest.Database(t)
	s := mustOpen(t, store.Config{Postgres: cfg})
	postgrestest.Execute(t, cfg.Database, "ALTER ROLE "+cfg.User+" PASSWORD 'replaced'")
	cut(t, cfg)
	write(t, cfg.PasswordFile, "replaced\n")
	eventually(t, func() error {
		_, err := s.AppendEvents(t.Context(), events(1, 1))
		return err
	})
}

// eventually tries until there is no error, for a minute at most.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestPostgresStatementsAreBounded has a lock held for ever, by somebody who hangs.
func TestPostgresStatementsAreBounded(t *testing.T) {
	t.Parallel()
	cfg := postgrestest.Database(t)
	cfg.StatementTimeout = config.Duration(time.Second)
	s := mustOpen(t, store.Config{Postgres: cfg})
	release := hold(t, cfg.Database, "LOCK TABLE counters IN ACCESS EXCLUSIVE MODE")
	if _, err := s.AppendEvents(t.Context(), events(1, 1)); err == nil || !strings.Contains(err.Error(), "statement timeout") {
		t.Errorf("AppendEvents(...) against a lock: %v", err)
	}
	if _, err := s.LastSeq(t.Context()); err == nil || !strings.Contains(err.Error(), "statement timeout") {
		t.Errorf("LastSeq() against a lock: %v", err)
	}
	release()
	mustAppend(t, s, event(1))
}

// TestPostgresCommitsReachTheDisk has an administrator who turned that off.
func TestPostgresCommitsReachTheDisk(t *testing.T) {
	t.Parallel()
	for asked, want := range map[string]string{"off": "on", "remote_apply": "remote_apply"} {
		cfg := postgrestest.Database(t)
		postgrestest.Execute(t, cfg.Database, fmt.Sprintf("ALTER DATABASE %s SET synchronous_commit = %s", cfg.Database, asked))
		s := mustOpen(t, store.Config{Postgres: cfg})
		got, err := s.SynchronousCommit(t.Context())
		if err != nil || got != want {
			t.Errorf("synchronous_commit = %s writes with %q, %v; want %s", asked, got, err, want)
		}
	}
}

func TestPostgresBackupAndRestore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	copied := filepath.Join(dir, "backup")
	if err := store.Backup(t.Context(), cfg, copied); err == nil || !strings.Contains(err.Error(), "no store") {
		t.Errorf("a backup of an empty database: %v", err)
	}
	live, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, live)
	if err := live.Snapshot(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy can be read by others: %v, %v", info, err)
	}
	if err := store.Backup(t.Context(), cfg, copied); err == nil {
		t.Error("a copy replaced another")
	}
	mustAppend(t, live, event(10_000))
	if _, err := store.Restore(t.Context(), copied, cfg); err == nil || !strings.Contains(err.Error(), "stop all") {
		t.Fatalf("restored under a store that is open: %v", err)
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	aside, err := store.Restore(t.Context(), copied, cfg)
	if err != nil {
		t.Fatal(err)
	}
	restored := mustOpen(t, cfg)
	sameContent(t, openAt(t, copied, store.Retention{}), restored)
	if seq, err := openAt(t, aside, store.Retention{}).LastSeq(t.Context()); err != nil || seq != 251 {
		t.Errorf("what was set aside ends with event %d, %v; want 251", seq, err)
	}
	mustAppend(t, restored, event(10_001))
}

// TestMoveBetweenEngines is the way from SQLite to PostgreSQL and back.
func TestMoveBetweenEngines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := store.Config{Path: filepath.Join(dir, "tandem.db")}
	database := store.Config{Postgres: postgrestest.Database(t)}
	first := mustOpen(t, file)
	fill(t, first)
	there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
	if err := store.Backup(t.Context(), file, there); err != nil {
		t.Fatal(err)
	}
	if aside, err := store.Restore(t.Context(), there, database); err != nil || aside != "" {
		t.Fatalf("Restore(...) into an empty database: %q, %v", aside, err)
	}
	sameContent(t, first, mustOpen(t, database))
	if err := store.Backup(t.Context(), database, back); err != nil {
		t.Fatal(err)
	}
	moved := store.Config{Path: filepath.Join(dir, "moved.db")}
	if _, err := store.Restore(t.Context(), back, moved); err != nil {
		t.Fatal(err)
	}
	sameContent(t, first, mustOpen(t, moved))
}

// TestPostgresRestoreTouchesNothing has a backup that is damaged, in a way that only copying it shows.
func TestPostgresRestoreTouchesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	s := mustOpen(t, cfg)
	mustAppend(t, s, event(1))
	bad := filepath.Join(dir, "bad")
	source := openAt(t, filepath.Join(dir, "tandem.db"), store.Retention{})
	mustAppend(t, source, event(2), event(3))
	if err := source.Snapshot(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	raw(t, bad, "UPDATE events SET state = 1 << 40 WHERE seq = 2")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Restore(t.Context(), bad, cfg); err == nil {
		t.Fatal("restored what cannot be stored")
	}
	if events, _ := mustList(t, mustOpen(t, cfg), store.EventFilter{}, store.Page{}); len(events) != 1 || events[0].GetMessage() != "event 1" {
		t.Errorf("after a restore that failed: %v", messages(events))
	}
	if _, err := os.Stat(bad + ".before-restore"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was set aside in vain: %v", err)
	}
}
