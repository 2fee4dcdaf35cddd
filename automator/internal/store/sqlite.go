package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // also registers the driver
	sqlite3 "modernc.org/sqlite/lib"
)

// How SQLite is run.
const (
	// readers is how many connections read at a time.
	readers = 4
	// busyTimeout is how long a connection waits for another process, such as a backup, in milliseconds.
	busyTimeout = 5000
	// applicationID marks our files: "TNDM".
	applicationID = 0x544e444d
)

// errForeign is a reason not to touch a file.
var errForeign = errors.New("it is a SQLite database of another program; the store needs a file of its own")

// sqliteFile is a store in a file. It serves one process.
type sqliteFile struct {
	path  string
	write *sql.DB
}

// openSQLite opens a file, and makes it if there is none.
func openSQLite(ctx context.Context, path string) (database, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return database{}, fmt.Errorf("open store: %w", err)
	}
	write, read, err := connectBoth(ctx, path)
	if err != nil {
		return database{}, explainSQLite(path, err)
	}
	return database{
		engine: sqliteFile{path: path, write: write},
		write:  write,
		read:   read,
		size:   func() float64 { return sizeOf(path) },
	}, nil
}

// begin needs no lock: the connection takes the file's for each transaction.
func (f sqliteFile) begin(ctx context.Context) (*sql.Tx, error) { return f.write.BeginTx(ctx, nil) }

func (sqliteFile) announce(context.Context, *sql.Tx, Topic) error { return nil }

func (sqliteFile) follow(ctx context.Context, _ func(Topic), _ func(error)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (f sqliteFile) snapshot(ctx context.Context, path string) error {
	return snapshotFile(ctx, f.path, path)
}

// connectBoth returns the writer and the readers of a file with the present schema.
func connectBoth(ctx context.Context, path string) (write, read *sql.DB, err error) {
	if err := makePrivate(path); err != nil {
		return nil, nil, err
	}
	// FULL syncs the log at every commit: an event that was acknowledged survives a power cut.
	write, err = connect(path, 1, "_txlock=immediate", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=journal_size_limit(67108864)")
	if err != nil {
		return nil, nil, err
	}
	if err := prepare(ctx, write); err != nil {
		return nil, nil, errors.Join(err, write.Close())
	}
	read, err = connect(path, readers, "_pragma=query_only(1)")
	if err != nil {
		return nil, nil, errors.Join(err, write.Close())
	}
	return write, read, nil
}

// makePrivate makes a file if there is none, because SQLite would let everybody read it.
func makePrivate(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

func connect(path string, connections int, options ...string) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", Path: path}
	dsn.RawQuery = fmt.Sprintf("_pragma=busy_timeout(%d)", busyTimeout)
	for _, option := range options {
		dsn.RawQuery += "&" + option
	}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// prepare checks whose file it is and brings its schema up to date.
func prepare(ctx context.Context, db *sql.DB) error {
	var id, tables int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM sqlite_master").Scan(&tables); err != nil {
		return err
	}
	if id != applicationID {
		if id != 0 || tables != 0 {
			return errForeign
		}
		if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return err
		}
	}
	return migrate(ctx, db, goose.DialectSQLite3)
}

// explainSQLite returns an error of opening in words that say what to do.
func explainSQLite(path string, err error) error {
	coded, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return fmt.Errorf("open store %s: %w", path, err)
	}
	switch coded.Code() & 0xff { // the rest of the code says more than anyone needs
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("open store %s: the file is damaged or no SQLite database; restore a backup, or move it away to begin with an empty store (what runs and what was decided is in Git; enrolled clusters must enroll again, and past events are gone): %w", path, err)
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return fmt.Errorf("open store %s: the file and its folder must be writable: %w", path, err)
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("open store %s: another process holds it; a SQLite store serves one automator only: %w", path, err)
	default:
		return fmt.Errorf("open store %s: %w", path, err)
	}
}
