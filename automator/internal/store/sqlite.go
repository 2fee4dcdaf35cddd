package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

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

//go:embed migrations/*.sql
var migrations embed.FS

// Reasons not to touch a file.
var (
	errForeign = errors.New("it is a SQLite database of another program; the store needs a file of its own")
	errNewer   = errors.New("a newer version of the automator has written it; run that version, or restore the backup from before the upgrade")
)

// openSQLite returns the writer and the readers of a file with the present schema.
func openSQLite(ctx context.Context, path string) (write, read *sql.DB, err error) {
	// Made here, because SQLite would let everybody read it.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := file.Close(); err != nil {
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

// migrate brings a schema up to date; one that is newer than this program is refused.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(dialect, db, files, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	have, err := provider.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	sources := provider.ListSources()
	if newest := sources[len(sources)-1].Version; have > newest {
		return fmt.Errorf("schema %d, known up to %d: %w", have, newest, errNewer)
	}
	_, err = provider.Up(ctx)
	return err
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
