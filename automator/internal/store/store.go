// Package store keeps what the automator should not lose but could live without: the event log, what is known of image
// tags, and whom it knows. What runs and what was decided is in Git.
//
// The engine is SQLite in a file. All SQL is written so that PostgreSQL runs it too, and the contract test takes any
// engine.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/config"
)

// Defaults of the retention.
const (
	defaultEventAge   = 400 * 24 * time.Hour // a year of delivery metrics, and its beginning to compare with
	defaultEventCount = 2_000_000
	defaultTagAge     = 90 * 24 * time.Hour
)

// Config says where the store is and how long it remembers.
type Config struct {
	// Path is the SQLite file. Its folder must exist; the file is made when it does not.
	Path string `yaml:"path"`
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
	if c.Path == "" {
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
	// write is one connection: SQLite has one writer, and a queue in front of it beats its retries.
	write *sql.DB
	// read are connections that cannot write, and that see the last commit without waiting for the writer.
	read *sql.DB

	signals signals
	metrics *metrics
}

// Open opens the store, makes it if there is none, and brings an older schema up to date. A file that is damaged, that
// belongs to another program or that a newer version has written is an error that says so.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{cfg: cfg}
	if s.write, s.read, err = openSQLite(ctx, path); err != nil {
		return nil, explainSQLite(path, err)
	}
	s.metrics = newMetrics(cfg.Metrics, path)
	return s, nil
}

// Close closes the store.
func (s *Store) Close() error {
	return errors.Join(s.read.Close(), s.write.Close())
}

// inTransaction runs f in a transaction of the writer. It is durable once inTransaction has returned without an error.
func (s *Store) inTransaction(ctx context.Context, f func(*sql.Tx) error) (err error) {
	began := time.Now()
	defer func() { s.metrics.wrote(began, err) }()
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// toMicros returns a time as it is stored; 0 for none.
func toMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros returns a stored time.
func fromMicros(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
