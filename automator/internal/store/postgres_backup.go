package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// errInUse is a reason not to replace the content of a database.
var errInUse = errors.New("an automator uses the store: stop all of its replicas first")

// export copies what the database holds at one moment to an SQLite file that does not exist yet.
func (p *Postgres) export(ctx context.Context, path string) error {
	db, err := p.open(1, patient(), nil)
	if err != nil {
		return p.explain(err)
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return p.explain(err)
	}
	defer tx.Rollback()
	if err := checkVersion(ctx, tx); err != nil {
		return p.explain(err)
	}
	return exportTo(ctx, tx, path)
}

// checkVersion reports whether a database has the schema that this program copies.
func checkVersion(ctx context.Context, tx *sql.Tx) error {
	var known bool
	if err := tx.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, versionTable).Scan(&known); err != nil {
		return err
	}
	if !known {
		return errors.New("there is no store in it: no automator has used it yet")
	}
	var have int64
	if err := tx.QueryRowContext(ctx, `SELECT MAX(version_id) FROM `+versionTable).Scan(&have); err != nil {
		return err
	}
	newest, err := newestSchema()
	if err != nil {
		return err
	}
	if have != newest {
		return fmt.Errorf("it has schema %d, and this program copies schema %d: take the version of the automator that uses it", have, newest)
	}
	return nil
}

// exportTo copies what a transaction sees to an SQLite file that does not exist yet.
func exportTo(ctx context.Context, from *sql.Tx, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	return intoNewFile(path, func() error {
		return withFile(ctx, path, func(db *sql.DB) error {
			to, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer to.Rollback()
			if err := copyTables(ctx, from, to); err != nil {
				return err
			}
			return to.Commit()
		})
	})
}

// withFile opens an SQLite file that is whole without a log beside it, brings it up to date and hands it to use.
func withFile(ctx context.Context, path string, use func(*sql.DB) error) error {
	db, err := connect(path, 1, "_txlock=immediate", "_pragma=journal_mode(DELETE)", "_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	if err := prepare(ctx, db); err != nil {
		return errors.Join(err, db.Close())
	}
	return errors.Join(use(db), db.Close())
}

// restore replaces what the database holds with a copy, in one transaction. What was there is kept beside the copy.
func (p *Postgres) restore(ctx context.Context, from string) (aside string, err error) {
	dir, err := os.MkdirTemp("", "tandem-restore-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	staged := filepath.Join(dir, FileName) // an older schema is brought up to date, and the copy stays as it is
	if err := snapshotFile(ctx, from, staged); err != nil {
		return "", err
	}
	err = withFile(ctx, staged, func(file *sql.DB) error {
		copied, err := file.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer copied.Rollback()
		aside, err = p.replace(ctx, copied, from+asideSuffix)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("restore %s: %w", from, err)
	}
	return aside, nil
}

// replace makes the database hold what a transaction sees, and keeps what it held in a file, if that was anything.
func (p *Postgres) replace(ctx context.Context, with *sql.Tx, keep string) (aside string, err error) {
	db, err := p.open(1, patient(), nil)
	if err != nil {
		return "", p.explain(err)
	}
	defer db.Close()
	conn, err := db.Conn(ctx) // the lock goes with it
	if err != nil {
		return "", p.explain(err)
	}
	defer conn.Close()
	if err := keepOthersOut(ctx, conn); err != nil { // before an older schema is brought up to date under its user
		return "", err
	}
	if err := p.prepare(ctx); err != nil {
		return "", p.explain(err)
	}
	if err := keepOthersOut(ctx, conn); err != nil { // now there is a schema
		return "", err
	}
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		return "", err
	}
	defer tx.Rollback()
	if aside, err = keepRows(ctx, tx, keep); err != nil {
		return "", err
	}
	if err := copyTables(ctx, with, tx); err != nil {
		return "", errors.Join(err, removeIfAny(aside))
	}
	if err := tx.Commit(); err != nil {
		if aside != "" {
			err = fmt.Errorf("%w (what was there is in %s)", err, aside) // the server may have committed and not said so
		}
		return "", err
	}
	return aside, nil
}

// keepOthersOut has a connection use the store alone, and fails when somebody else uses it. Where the schema is still to be
// made there is no key to lock by, and nobody is kept out.
func keepOthersOut(ctx context.Context, conn *sql.Conn) error {
	var alone bool
	err := conn.QueryRowContext(ctx, `SELECT COALESCE(pg_try_advisory_lock($1, `+here+`), true)`, lockUse).Scan(&alone)
	if err == nil && !alone {
		return errInUse
	}
	return err
}

func removeIfAny(path string) error {
	if path == "" {
		return nil
	}
	return os.Remove(path)
}

// keepRows copies what a transaction sees to a file. It returns the name of the file, empty when there was nothing to keep.
func keepRows(ctx context.Context, tx *sql.Tx, path string) (string, error) {
	for _, table := range tables {
		var some bool
		query := `SELECT EXISTS (SELECT 1 FROM ` + table + `)`
		if table == "counters" {
			query = `SELECT EXISTS (SELECT 1 FROM counters WHERE value > 0)`
		}
		if err := tx.QueryRowContext(ctx, query).Scan(&some); err != nil {
			return "", err
		}
		if some {
			return path, exportTo(ctx, tx, path)
		}
	}
	return "", nil
}
