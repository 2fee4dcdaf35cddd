package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-cd/tandem/shared/signature"
)

// Limits on the signatures that are kept for clusters. What is forgotten is read from the registry again when a cluster asks.
const (
	// signaturesFor is how long it is kept after it was last read from a registry or used, which is noted every touchEvery at most.
	signaturesFor = 90 * 24 * time.Hour
	touchEvery    = 24 * time.Hour
	// maxSignatureBytes bounds all of them together, those not used for longest go first; an image counts for signatureRow bytes more than its
	// signatures have.
	maxSignatureBytes = 256 << 20
	signatureRow      = 4 << 10
)

// forgetSignatures is about sizes and times alone, which the index has: the table is as large as all signatures.
const forgetSignatures = `DELETE FROM signatures WHERE seen <= (SELECT MAX(seen) FROM
	(SELECT seen, SUM(size) OVER (ORDER BY seen DESC) AS total FROM signatures) AS newest WHERE total > $1)`

// Signatures returns what a registry had about the signatures of an image; found is false for none.
func (s *Store) Signatures(ctx context.Context, repository, digest string) (m signature.Material, found bool, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	var text []byte
	var seen int64
	err = s.read.QueryRowContext(ctx,
		`SELECT material, seen FROM signatures WHERE repository = $1 AND digest = $2`, repository, digest).Scan(&text, &seen)
	if errors.Is(err, sql.ErrNoRows) {
		return m, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return signature.Material{}, false, fmt.Errorf("read signatures of %s@%s: %w", repository, digest, err)
	}
	if now := time.Now(); now.Sub(fromMicros(seen)) > touchEvery {
		_ = s.touchSignatures(ctx, repository, digest, now) // the next reader tries again
	}
	return m, true, nil
}

// touchSignatures notes that what is kept of an image is of use.
func (s *Store) touchSignatures(ctx context.Context, repository, digest string, now time.Time) error {
	return s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE signatures SET seen = $1 WHERE repository = $2 AND digest = $3`, toMicros(now), repository, digest)
		return err
	})
}

// PutSignatures keeps what a registry has about the signatures of an image, as much of it as is relayed, and forgets what is too old or
// too much. Of an image without any it keeps nothing.
func (s *Store) PutSignatures(ctx context.Context, repository, digest string, m signature.Material) error {
	return s.putSignatures(ctx, repository, digest, m, maxSignatureBytes)
}

func (s *Store) putSignatures(ctx context.Context, repository, digest string, m signature.Material, most int64) error {
	if len(m.Items) == 0 {
		return s.dropSignatures(ctx, repository, digest)
	}
	text, err := json.Marshal(m.Relayed())
	if err != nil {
		return fmt.Errorf("write signatures of %s@%s: %w", repository, digest, err)
	}
	now := time.Now()
	err = s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO signatures (repository, digest, material, size, seen) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (repository, digest) DO UPDATE SET material = excluded.material, size = excluded.size, seen = excluded.seen`,
			storable(repository), storable(digest), text, len(text)+signatureRow, toMicros(now))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM signatures WHERE seen <= $1`, toMicros(now.Add(-signaturesFor))); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, forgetSignatures, most)
		return err
	})
	if err != nil {
		return fmt.Errorf("write signatures of %s@%s: %w", repository, digest, err)
	}
	return nil
}

func (s *Store) dropSignatures(ctx context.Context, repository, digest string) error {
	err := s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM signatures WHERE repository = $1 AND digest = $2`, storable(repository), storable(digest))
		return err
	})
	if err != nil {
		return fmt.Errorf("forget signatures of %s@%s: %w", repository, digest, err)
	}
	return nil
}
