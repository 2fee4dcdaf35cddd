// Package store keeps what the automator should not lose but could live without: the event log, what is known of image
// tags, and whom it knows. What runs and what was decided is in Git.
//
// It is a SQLite file or a PostgreSQL database. Both run the same SQL and the same migrations, and keep the same promises:
// the contract test holds for both. What they do differently is behind the type engine.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/instant"
)

// Defaults of the retention.
const (
	defaultEventAge   = 400 * 24 * time.Hour // a year of delivery metrics, and its beginning to compare with
	defaultEventCount = 2_000_000
	defaultTagAge     = 90 * 24 * time.Hour
)

// Config says where the store is and how long it remembers.
type Config struct {
	// Path is the SQLite file. Its folder must exist; the file is made when it does not. With Postgres it is not used.
	Path string `yaml:"-"`
	// Postgres is a PostgreSQL database in the place of the file.
	Postgres Postgres `yaml:"postgres"`
	// Retention bounds what is kept.
	Retention Retention `yaml:"retention"`
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer `yaml:"-"`
}

// Retention bounds what is kept; 0 means the default.
type Retention struct {
	// EventAge is how long events are kept after they arrived; 400 days.
	EventAge config.Duration `yaml:"eventAge"`
	// EventCount is how many events are kept; 2,000,000.
	EventCount int64 `yaml:"eventCount"`
	// TagAge is how long a tag is remembered that its registry does not list any more, and a repository that nobody
	// looks at; 90 days.
	TagAge config.Duration `yaml:"tagAge"`
}

// Validate fills defaults and returns every problem joined.
func (c *Config) Validate() error {
	var problems []error
	if err := c.Postgres.validate(); err != nil {
		problems = append(problems, fmt.Errorf("postgres: %w", err))
	}
	if c.Path == "" && !c.Postgres.given() {
		problems = append(problems, errors.New("the path of the store is empty; name a file on a volume that outlives the process"))
	}
	r := &c.Retention
	if r.EventAge < 0 || r.EventCount < 0 || r.TagAge < 0 {
		problems = append(problems, errors.New("a limit of the retention is negative"))
	}
	r.EventAge = config.Duration(r.EventAge.Or(defaultEventAge))
	r.TagAge = config.Duration(r.TagAge.Or(defaultTagAge))
	if r.EventCount == 0 {
		r.EventCount = defaultEventCount
	}
	return errors.Join(problems...)
}

// Store is an open store. It is safe for concurrent use.
type Store struct {
	cfg Config
	database

	signals signals
	metrics *metrics
}

// database is an open database with the present schema.
type database struct {
	engine engine
	// write is one connection: there is one writer at a time, and a queue in front of it beats waiting in the engine.
	write *sql.DB
	// read are connections that see the last commit without waiting for the writer.
	read *sql.DB
	// timeout bounds a transaction and a read; 0 does not.
	timeout time.Duration
	// size measures what the store takes, in bytes.
	size func() float64
}

// engine is what SQLite and PostgreSQL do differently.
type engine interface {
	// begin opens a transaction beside which no other one runs, of any store on the database.
	begin(ctx context.Context) (*sql.Tx, error)
	// announce has other stores on the database wake the subscribers of a topic, once tx is committed.
	announce(ctx context.Context, tx *sql.Tx, topic Topic) error
	// follow calls wake for what other stores announce, until the context is done. Errors go to report; it goes on.
	follow(ctx context.Context, wake func(Topic), report func(error)) error
	// snapshot writes a consistent copy to an SQLite file that does not exist yet. Writers need not wait.
	snapshot(ctx context.Context, path string) error
}

// Open opens the store, makes it if there is none, and brings an older schema up to date. A file that is damaged, a
// database that cannot be used, and what belongs to another program or was written by a newer version are errors that say
// what to do.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg}
	var err error
	if cfg.Postgres.given() {
		s.database, err = openPostgres(ctx, cfg.Postgres)
	} else {
		s.database, err = openSQLite(ctx, cfg.Path)
	}
	if err != nil {
		return nil, err
	}
	s.metrics = newMetrics(cfg.Metrics, s.size)
	return s, nil
}

// Close closes the store.
func (s *Store) Close() error {
	err := errors.Join(s.read.Close(), s.write.Close())
	if s.cfg.Postgres.given() {
		return nil // to hang up on a server that is gone is no failure, and nothing waits to be written
	}
	return err
}

// inTransaction runs f in a transaction of the writer. It is durable once inTransaction has returned without an error.
func (s *Store) inTransaction(ctx context.Context, f func(context.Context, *sql.Tx) error) (err error) {
	began := time.Now()
	defer func() { s.metrics.wrote(began, err) }()
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	tx, err := s.engine.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// exec runs one statement in a transaction of the writer.
func (s *Store) exec(ctx context.Context, statement string, args ...any) error {
	return s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	})
}

// bounded returns a context that ends when the database should have answered long ago.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.timeout)
}

// storable returns a text from outside without what PostgreSQL does not take in a column of text.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}

// toMicros returns a time as it is stored; 0 for none.
func toMicros(t time.Time) int64 {
	return int64(instant.MicrosOf(t))
}

// fromMicros returns a stored time.
func fromMicros(micros int64) time.Time {
	return instant.Micros(micros).Time()
}
