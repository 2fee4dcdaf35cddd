package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// verifiedFor is how long it is remembered that an image is signed. Then it is checked again, if anybody still wants to know.
const verifiedFor = 90 * 24 * time.Hour

// Verified returns who signed an image by the rules and keys that a hash stands for; found is false if that is not known.
func (s *Store) Verified(ctx context.Context, repository, digest, rules string) (by []string, found bool, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	var signers string
	err = s.read.QueryRowContext(ctx,
		`SELECT signers FROM verifications WHERE repository = $1 AND digest = $2 AND rules = $3 AND verified > $4`,
		repository, digest, rules, toMicros(time.Now().Add(-verifiedFor))).Scan(&signers)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("read who signed %s@%s: %w", repository, digest, err)
	}
	return strings.Split(signers, "\n"), true, nil
}

// PutVerified remembers who signed an image, and forgets what is too old to count.
func (s *Store) PutVerified(ctx context.Context, repository, digest, rules string, by []string) error {
	now := time.Now()
	err := s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM verifications WHERE verified <= $1`, toMicros(now.Add(-verifiedFor))); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO verifications (repository, digest, rules, signers, verified) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (repository, digest, rules) DO UPDATE SET signers = excluded.signers, verified = excluded.verified`,
			storable(repository), storable(digest), rules, storable(strings.Join(by, "\n")), toMicros(now))
		return err
	})
	if err != nil {
		return fmt.Errorf("write who signed %s@%s: %w", repository, digest, err)
	}
	return nil
}
