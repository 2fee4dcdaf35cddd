package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/shared/signature"
)

// SynchronousCommit returns what commits of the writer wait for.
func (s *Store) SynchronousCommit(ctx context.Context) (setting string, err error) {
	err = s.write.QueryRowContext(ctx, "SHOW synchronous_commit").Scan(&setting)
	return setting, err
}

// Tables are what a copy takes along.
var Tables = tables

// PollEvery is how often a store looks although nothing was announced.
const PollEvery = pollEvery

// LockSchema and LockUse are the first halves of the keys of advisory locks.
const (
	LockSchema = lockSchema
	LockUse    = lockUse
)

// PutSignaturesWithin is PutSignatures with another bound on what all images have.
func (s *Store) PutSignaturesWithin(ctx context.Context, repository, digest string, m signature.Material, most int64) error {
	return s.putSignatures(ctx, repository, digest, m, most)
}

// AgeSignatures makes all signatures older.
func (s *Store) AgeSignatures(ctx context.Context, by time.Duration) error {
	_, err := s.write.ExecContext(ctx, `UPDATE signatures SET seen = seen - $1`, by.Microseconds())
	return err
}

// PlanToForgetSignatures is how SQLite goes about bounding the signatures.
func (s *Store) PlanToForgetSignatures(ctx context.Context) (string, error) {
	rows, err := s.write.QueryContext(ctx, "EXPLAIN QUERY PLAN "+forgetSignatures, 1)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return "", err
		}
		fmt.Fprintln(&plan, detail)
	}
	return plan.String(), rows.Err()
}
