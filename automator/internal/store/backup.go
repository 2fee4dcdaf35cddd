package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// FileName is what the store's file is called in the automator's state folder.
const FileName = "tandem.db"

// asideSuffix is appended to the name of a store that a restored one replaces.
const asideSuffix = ".before-restore"

// Snapshot writes a consistent copy of the store, of whatever engine, to an SQLite file that does not exist yet. Writers need
// not wait.
func (s *Store) Snapshot(ctx context.Context, path string) error {
	return s.engine.snapshot(ctx, path)
}

// Backup writes a consistent copy of a store that this process need not have open, and that others may use meanwhile, to an
// SQLite file that does not exist yet.
func Backup(ctx context.Context, cfg Config, path string) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if cfg.Postgres.given() {
		return cfg.Postgres.export(ctx, path)
	}
	return snapshotFile(ctx, cfg.Path, path)
}

// Restore puts a copy that Snapshot or Backup made, of whatever engine, in the place of a store that nobody uses. What was
// there is kept in a file, whose name is returned; empty when there was nothing. Nothing is touched when the copy is damaged,
// of another program or of a newer version.
func Restore(ctx context.Context, from string, cfg Config) (aside string, err error) {
	if err := cfg.Validate(); err != nil {
		return "", err
	}
	if err := check(ctx, from); err != nil {
		return "", fmt.Errorf("restore %s: %w", from, err)
	}
	if cfg.Postgres.given() {
		return cfg.Postgres.restore(ctx, from)
	}
	return restoreFile(ctx, from, cfg.Path)
}

// snapshotFile writes a consistent copy of the store in one file to another that does not exist yet, whether somebody uses
// the store or not.
func snapshotFile(ctx context.Context, from, to string) error {
	if _, err := os.Stat(from); err != nil {
		return fmt.Errorf("copy store: %w", err)
	}
	return intoNewFile(to, func() error { return vacuumInto(ctx, from, to) })
}

// intoNewFile makes an empty file that only its owner can read, has it filled, and removes it when that fails.
func intoNewFile(path string, fill func() error) error {
	target, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // SQLite would let everybody read it
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("copy store: %s exists already; name a file that does not", path)
	}
	if err != nil {
		return fmt.Errorf("copy store: %w", err)
	}
	if err := target.Close(); err != nil {
		return fmt.Errorf("copy store: %w", err)
	}
	if err := fill(); err != nil {
		return errors.Join(fmt.Errorf("copy store to %s: %w", path, err), os.Remove(path))
	}
	return nil
}

func vacuumInto(ctx context.Context, from, to string) error {
	path, err := filepath.Abs(from)
	if err != nil {
		return err
	}
	db, err := connect(path, 1)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO $1", to)
	return errors.Join(err, db.Close())
}

// restoreFile puts a copy in the place of a file. What was there is kept beside it.
func restoreFile(ctx context.Context, from, to string) (aside string, err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	staged := to + ".restoring"
	if err := os.Remove(staged); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("restore: %w", err)
	}
	if err := snapshotFile(ctx, from, staged); err != nil {
		return "", err
	}
	if aside, err = setAside(ctx, to); err != nil {
		return "", errors.Join(err, os.Remove(staged))
	}
	if err := os.Rename(staged, to); err != nil {
		return aside, fmt.Errorf("restore: %w", err)
	}
	return aside, nil
}

// setAside renames the store that is in a file. It fails when somebody uses it: SQLite leaves the write-ahead log only to
// who is alone.
func setAside(ctx context.Context, path string) (string, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	db, err := connect(absolute, 1)
	if err != nil {
		return "", err
	}
	var mode string
	err = errors.Join(db.QueryRowContext(ctx, "PRAGMA journal_mode = DELETE").Scan(&mode), db.Close())
	if err == nil && mode != "delete" {
		err = fmt.Errorf("its journal stays in mode %s", mode)
	}
	if err != nil {
		return "", fmt.Errorf("restore over %s: stop the automator that uses it first, or move the file away if it is damaged: %w", path, err)
	}
	aside := path + asideSuffix
	if err := os.Rename(path, aside); err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	return aside, nil
}

// check reports whether a file is a whole store of a version that is known here.
func check(ctx context.Context, path string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	db, err := connect(absolute, 1, "_pragma=query_only(1)")
	if err != nil {
		return err
	}
	return errors.Join(checkOpen(ctx, db), db.Close())
}

func checkOpen(ctx context.Context, db *sql.DB) error {
	var id int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return fmt.Errorf("it is no backup of an automator, or damaged: %w", err)
	}
	if id != applicationID {
		return errForeign
	}
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil || verdict != "ok" {
		return fmt.Errorf("the backup is damaged (%s); take another: %w", verdict, err)
	}
	var have int64
	if err := db.QueryRowContext(ctx, "SELECT MAX(version_id) FROM goose_db_version").Scan(&have); err != nil {
		return fmt.Errorf("the backup has no schema: %w", err)
	}
	return checkSchema(have)
}
