package store

import (
	"context"

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
