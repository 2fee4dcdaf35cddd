package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

const (
	// versionTable is where goose keeps the version of the schema. That there is one says that the tables are ours.
	versionTable = "tandem_schema"
	// migrateTimeout bounds the wait for another replica that migrates, and migrating.
	migrateTimeout = 30 * time.Minute
	// grace is by how much the client waits longer than the server lets a statement run, to hear why.
	grace = 5 * time.Second
	// idleTime is how long a connection for reading is kept that nobody uses.
	idleTime = 5 * time.Minute
	// sizeTimeout bounds how long a scrape waits for the size.
	sizeTimeout = 2 * time.Second
)

// Advisory locks. The first half of their key is our own: "TNDM" and upwards.
const (
	// lockSchema is held while the schema is looked at and changed.
	lockSchema = applicationID + iota
	// lockWriter is held by the transaction that writes.
	lockWriter
	// lockUse is shared by everybody who has the store open, and held alone by who replaces its content.
	lockUse
)

// here is the second half of the key of a lock on one of several stores in a database.
const here = `hashtext(current_schema())`

// postgres is a store in a PostgreSQL database. It serves any number of processes.
type postgres struct {
	cfg   Postgres
	write *sql.DB
	// origin tells what this store announces from what others do.
	origin string
}

// openPostgres opens a database with the present schema.
func openPostgres(ctx context.Context, cfg Postgres) (database, error) {
	if err := cfg.prepare(ctx); err != nil {
		return database{}, cfg.explain(err)
	}
	write, err := cfg.open(1, cfg.session(), mayWrite)
	if err != nil {
		return database{}, cfg.explain(err)
	}
	if err := write.PingContext(ctx); err != nil {
		return database{}, errors.Join(cfg.explain(err), write.Close())
	}
	read, err := cfg.open(cfg.MaxConnections-otherConnections, cfg.session(), onlyRead)
	if err != nil {
		return database{}, errors.Join(cfg.explain(err), write.Close())
	}
	read.SetConnMaxIdleTime(idleTime)
	return database{
		engine:  &postgres{cfg: cfg, write: write, origin: rand.Text()},
		write:   write,
		read:    read,
		timeout: 2*time.Duration(cfg.StatementTimeout) + grace,
		size:    func() float64 { return tablesSize(context.WithoutCancel(ctx), read) },
	}, nil
}

// open returns a pool of connections; prepared is called for each new one.
func (p *Postgres) open(connections int, parameters map[string]string, prepared func(context.Context, *pgx.Conn) error) (*sql.DB, error) {
	cfg, err := p.connConfig(parameters)
	if err != nil {
		return nil, err
	}
	options := []stdlib.OptionOpenDB{stdlib.OptionBeforeConnect(func(_ context.Context, next *pgx.ConnConfig) error {
		fresh, err := p.connConfig(parameters) // the password, or a certificate, may be another one by now
		if err != nil {
			return err
		}
		*next = *fresh
		return nil
	})}
	if prepared != nil {
		options = append(options, stdlib.OptionAfterConnect(prepared))
	}
	db := stdlib.OpenDB(*cfg, options...)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// useStore keeps Restore out for as long as the connection lives.
func useStore(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SELECT pg_advisory_lock_shared($1, `+here+`)`, lockUse)
	return err
}

// mayWrite is useStore, and has commits wait for the disk where the server's administrator did not ask for that. What is
// stricter than waiting for the disk stays.
func mayWrite(ctx context.Context, conn *pgx.Conn) error {
	err := useStore(ctx, conn)
	if err == nil {
		_, err = conn.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`)
	}
	if err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	return nil
}

// onlyRead keeps a connection from writing.
func onlyRead(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, `SET default_transaction_read_only = on`); err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	return nil
}

// begin waits for the one lock of writers, which no transaction holds longer than its statements take. Whatever isolation the
// server defaults to, a statement sees what was committed before the lock was had.
func (p *postgres) begin(ctx context.Context) (*sql.Tx, error) {
	tx, err := p.write.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1, `+here+`)`, lockWriter); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return tx, nil
}

func (p *postgres) snapshot(ctx context.Context, path string) error {
	return p.cfg.export(ctx, path)
}

// prepare checks whose tables there are and brings the schema up to date, one replica after the other.
func (p *Postgres) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	db, err := p.open(2, patient(), nil)
	if err != nil {
		return err
	}
	defer db.Close()
	guard, err := db.Conn(ctx) // the lock goes with the connection, also when this process is killed
	if err != nil {
		return err
	}
	defer guard.Close()
	if _, err := guard.ExecContext(ctx, `SELECT pg_advisory_lock($1, 0)`, lockSchema); err != nil {
		return err
	}
	if err := p.makeSchema(ctx, db); err != nil {
		return err
	}
	if err := checkTables(ctx, db); err != nil {
		return err
	}
	return migrate(ctx, db, goose.DialectPostgres, goose.WithTableName(versionTable))
}

// makeSchema makes the configured schema. It asks first: IF NOT EXISTS takes the right to make one.
func (p *Postgres) makeSchema(ctx context.Context, db *sql.DB) error {
	if p.Schema == "" {
		return nil
	}
	var known bool
	if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)`, p.Schema).Scan(&known); err != nil || known {
		return err
	}
	_, err := db.ExecContext(ctx, `CREATE SCHEMA `+p.Schema)
	return err
}

// checkTables refuses a schema with tables that are not ours. Those of extensions do not count.
func checkTables(ctx context.Context, db *sql.DB) error {
	var tables, ours int
	err := db.QueryRowContext(ctx, `SELECT COUNT(*), COUNT(*) FILTER (WHERE c.relname = $1) FROM pg_class c
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
		AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`, versionTable).Scan(&tables, &ours)
	if err == nil && tables > 0 && ours == 0 {
		return errForeignTables
	}
	return err
}

// tablesSize returns the bytes of the store's tables with their indices; not a number when the database does not answer.
func tablesSize(ctx context.Context, db *sql.DB) float64 {
	ctx, cancel := context.WithTimeout(ctx, sizeTimeout)
	defer cancel()
	var size int64
	err := db.QueryRowContext(ctx, `SELECT COALESCE(SUM(pg_total_relation_size(oid)), 0)::BIGINT FROM pg_class
		WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'`).Scan(&size)
	if err != nil {
		return math.NaN()
	}
	return float64(size)
}
