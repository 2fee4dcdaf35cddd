package store

import "context"

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
