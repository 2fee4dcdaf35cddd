package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/tandem-cd/tandem/shared/run"
)

const (
	// pruneBatch is how many events are removed in one transaction, so that appending waits only for a moment.
	pruneBatch = 1000
	// pruneEvery is how often Run prunes.
	pruneEvery = time.Hour
)

// Run prunes now and then, and hears what other stores on the database announce, until the context is done; errors go to
// report, and the next time may succeed.
func (s *Store) Run(ctx context.Context, report func(error)) error {
	err := run.Group(ctx,
		run.Task{Name: "prune", Run: func(ctx context.Context) error { return s.keepPruned(ctx, report) }},
		run.Task{Name: "follow", Run: func(ctx context.Context) error { return s.engine.follow(ctx, s.signals.notify, report) }},
	)
	return cmp.Or(err, ctx.Err())
}

func (s *Store) keepPruned(ctx context.Context, report func(error)) error {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		if _, err := s.Prune(ctx); err != nil && ctx.Err() == nil {
			report(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// Prune removes what the retention does not keep, in batches, and returns how many events it removed. Events go in the
// order in which they came, so that what is left has no gaps.
func (s *Store) Prune(ctx context.Context) (events int64, err error) {
	for {
		var removed int64
		err := s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
			n, err := s.pruneEvents(ctx, tx)
			removed = n
			return err
		})
		if err != nil {
			return events, fmt.Errorf("prune events: %w", err)
		}
		events += removed
		if removed < pruneBatch {
			break
		}
	}
	if err := s.pruneTags(ctx); err != nil {
		return events, fmt.Errorf("prune tags: %w", err)
	}
	if err := s.pruneTokens(ctx); err != nil {
		return events, fmt.Errorf("prune tokens: %w", err)
	}
	return events, nil
}

// pruneEvents removes up to a batch of the oldest events.
func (s *Store) pruneEvents(ctx context.Context, tx *sql.Tx) (int64, error) {
	var oldest, newest sql.NullInt64
	if err := tx.QueryRowContext(ctx, `SELECT MIN(seq), MAX(seq) FROM events`).Scan(&oldest, &newest); err != nil || !oldest.Valid {
		return 0, err
	}
	// seq has no gaps, so this is the number of events that are too many.
	last := newest.Int64 - s.cfg.Retention.EventCount
	var aged sql.NullInt64
	cutoff := toMicros(time.Now().Add(-time.Duration(s.cfg.Retention.EventAge)))
	// A clock that was set back must not keep old events behind younger ones, so the newest aged one of the batch counts.
	err := tx.QueryRowContext(ctx, `SELECT MAX(seq) FROM events WHERE seq < $1 AND arrived < $2`, oldest.Int64+pruneBatch, cutoff).Scan(&aged)
	if err != nil {
		return 0, err
	}
	last = min(max(last, aged.Int64), oldest.Int64+pruneBatch-1)
	if last < oldest.Int64 {
		return 0, nil
	}
	for _, statement := range []string{
		`DELETE FROM event_digests WHERE seq <= $1`,
		`DELETE FROM cluster_subjects WHERE last_seq <= $1`,
		`DELETE FROM events WHERE seq <= $1`,
	} {
		if _, err := tx.ExecContext(ctx, statement, last); err != nil {
			return 0, err
		}
	}
	return last - oldest.Int64 + 1, nil
}

// pruneTags removes tags that vanished long ago and repositories that nobody looks at any more.
func (s *Store) pruneTags(ctx context.Context) error {
	cutoff := toMicros(time.Now().Add(-time.Duration(s.cfg.Retention.TagAge)))
	return s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, statement := range []string{
			`DELETE FROM tags WHERE last_seen > 0 AND last_seen < $1`,
			`DELETE FROM tags WHERE repository IN (SELECT repository FROM scans WHERE last_attempt < $1)`,
			`DELETE FROM scans WHERE last_attempt < $1`,
		} {
			if _, err := tx.ExecContext(ctx, statement, cutoff); err != nil {
				return err
			}
		}
		return nil
	})
}
