//go:build unix

// Package postgrestest runs real PostgreSQL servers for tests: one for each test process that asks, and servers of their own
// for tests that stop or kill them.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Closing(m)) }
//
//	cfg := postgrestest.Database(t)
package postgrestest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tandem-cd/tandem/automator/internal/store"
)

// shared is the server of this process.
var shared = struct { //nolint:gochecknoglobals // what a test process has one of
	once   sync.Once
	server *Server
	err    error
}{}

// Closing returns tests at whose end the server of the process is stopped, if one was started.
func Closing(m *testing.M) interface{ Run() int } { return closing{m} }

type closing struct{ m *testing.M }

func (c closing) Run() int {
	code := c.m.Run()
	if shared.server == nil {
		return code
	}
	if err := shared.server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "stop PostgreSQL:", err)
		return 1
	}
	return code
}

// Database makes an empty database on the server of the process, owned by a role of its own, for the length of a test. It is
// reached as users do: over TCP, by a password and TLS. TestMain MUST run Closing.
func Database(tb testing.TB) store.Postgres {
	tb.Helper()
	shared.once.Do(func() { shared.server, shared.err = Start(context.WithoutCancel(tb.Context())) })
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.server.Database(tb)
}

// Execute runs statements as the superuser in a database on the server of the process.
func Execute(tb testing.TB, database string, statements ...string) {
	tb.Helper()
	shared.server.Execute(tb, database, statements...)
}

// Superuser returns how pgx connects as the superuser to a database on the server of the process.
func Superuser(database string) string { return shared.server.socket(database) }

// count numbers databases.
var count atomic.Int64 //nolint:gochecknoglobals // names must differ within the process

// Database makes an empty database on a server, for the length of a test.
func (s *Server) Database(tb testing.TB) store.Postgres {
	tb.Helper()
	cfg := s.DatabaseOnce(tb)
	tb.Cleanup(func() { s.Execute(tb, "postgres", fmt.Sprintf(`DROP DATABASE %s WITH (FORCE)`, cfg.Database)) })
	return cfg
}

// DatabaseOnce makes an empty database on a server of one test's own, which goes with the server.
func (s *Server) DatabaseOnce(tb testing.TB) store.Postgres {
	tb.Helper()
	name := fmt.Sprintf("test%d", count.Add(1))
	password := "pass of " + name + "'\\" // with what has to be quoted
	s.Execute(tb, "postgres",
		fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'`, name, strings.ReplaceAll(password, "'", "''")),
		fmt.Sprintf(`CREATE DATABASE %s OWNER %s`, name, name))
	file := filepath.Join(tb.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return store.Postgres{
		Hosts: []string{fmt.Sprintf("127.0.0.1:%d", s.port)}, Database: name, User: name, PasswordFile: file,
		TLS: store.PostgresTLS{CA: filepath.Join(s.dir, certificateFile)},
	}
}

// Execute runs statements as the superuser in a database.
func (s *Server) Execute(tb testing.TB, database string, statements ...string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), startTimeout) // cleanups call it too
	defer cancel()
	conn, err := pgx.Connect(ctx, s.socket(database))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			tb.Fatalf("%s: %v", statement, err)
		}
	}
}
