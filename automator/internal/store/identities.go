package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
)

// Identity is what is known of somebody's certificates.
type Identity struct {
	// Role and Name say who.
	Role, Name string
	// Serial, Issued, Expires, Key and Authority describe the newest certificate; empty when none is known.
	Serial          string
	Issued, Expires time.Time
	Key, Authority  string
	// Version is what the caller said it is.
	Version string
	// Revoked is until when everything issued is refused; zero when nothing is.
	Revoked time.Time
	// TokenExpires is until when a token of it can be, or could have been, redeemed; zero when there is none. It is only
	// read.
	TokenExpires time.Time
}

// Token is a token as it is kept.
type Token struct {
	// Hash is the SHA-256 of its text, hexadecimal.
	Hash string
	// Cluster is whom it is for.
	Cluster string
	// Created and Expires bound it in time.
	Created, Expires time.Time
	// Replace says that redeeming it revokes what the cluster had.
	Replace bool
	// CreatedBy is who made it.
	CreatedBy string
	// Redeemed is when it was redeemed first, and Key for which key; zero when it was not.
	Redeemed time.Time
	Key      string
	// Revoked is until when everything that was issued to its cluster is refused, at the moment of the redemption that
	// returned the token; zero when nothing is.
	Revoked time.Time
}

// ErrRevoked is the fault that an identity was revoked meanwhile.
var ErrRevoked = fault.New(fault.Unauthorized, "revoked")

// PutToken keeps a new token.
func (s *Store) PutToken(ctx context.Context, t Token) error {
	err := s.exec(ctx,
		`INSERT INTO tokens (hash, cluster, created, expires, replaces, created_by, redeemed, key_hash) VALUES ($1, $2, $3, $4, $5, $6, 0, '')`,
		t.Hash, t.Cluster, toMicros(t.Created), toMicros(t.Expires), toInt(t.Replace), t.CreatedBy)
	if err != nil {
		return fmt.Errorf("write token of cluster %s: %w", t.Cluster, err)
	}
	return nil
}

// RedeemToken hands the token with a hash to decide, and records that it was redeemed for a key if decide returns no
// error. When that is the first time and the token replaces, everything that was issued to its cluster until at is
// revoked with it. Two callers at once are decided one after the other. Without such a token it returns false.
func (s *Store) RedeemToken(ctx context.Context, hash, key string, at time.Time, decide func(Token) error) (token Token, found bool, err error) {
	err = s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if token, found, err = readToken(ctx, tx, hash); err != nil || !found {
			return err
		}
		if err := decide(token); err != nil {
			return err
		}
		if _, token.Revoked, err = standing(ctx, tx, roleCluster, token.Cluster); err != nil || !token.Redeemed.IsZero() {
			return err
		}
		token.Redeemed, token.Key = at, key
		if _, err := tx.ExecContext(ctx, `UPDATE tokens SET redeemed = $1, key_hash = $2 WHERE hash = $3`, toMicros(at), key, hash); err != nil {
			return err
		}
		if !token.Replace {
			return nil
		}
		// A key that the token replaces has redeemed another one; it must not repeat that.
		if _, err := tx.ExecContext(ctx, `DELETE FROM tokens WHERE cluster = $1 AND redeemed > 0 AND hash <> $2`, token.Cluster, hash); err != nil {
			return err
		}
		token.Revoked, err = s.revoke(ctx, tx, roleCluster, token.Cluster, at)
		return err
	})
	return token, found, err
}

// roleCluster is the role that tokens are for.
const roleCluster = "cluster"

func readToken(ctx context.Context, tx *sql.Tx, hash string) (t Token, found bool, err error) {
	var created, expires, redeemed int64
	var replace int
	err = tx.QueryRowContext(ctx,
		`SELECT hash, cluster, created, expires, replaces, created_by, redeemed, key_hash FROM tokens WHERE hash = $1`, hash).
		Scan(&t.Hash, &t.Cluster, &created, &expires, &replace, &t.CreatedBy, &redeemed, &t.Key)
	if errors.Is(err, sql.ErrNoRows) {
		return Token{}, false, nil
	}
	if err != nil {
		return Token{}, false, fmt.Errorf("read token: %w", err)
	}
	t.Created, t.Expires, t.Redeemed, t.Replace = fromMicros(created), fromMicros(expires), fromMicros(redeemed), replace != 0
	return t, true, nil
}

// PutCertificate records the newest certificate of an identity. Revoked and TokenExpires stay what they are; an older
// certificate than the one that is known changes nothing. A renewal succeeds what was issued at succeeded, and an enrollment
// the first moment that was not revoked when its token was redeemed; when that is revoked by now, it is ErrRevoked.
func (s *Store) PutCertificate(ctx context.Context, id Identity, succeeded time.Time) error {
	err := s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, revoked, err := standing(ctx, tx, id.Role, id.Name)
		if err != nil {
			return err
		}
		if !succeeded.After(revoked) {
			return ErrRevoked
		}
		return putCertificate(ctx, tx, id)
	})
	if err != nil {
		return fmt.Errorf("write certificate of %s/%s: %w", id.Role, id.Name, err)
	}
	return nil
}

// standing returns when the newest certificate of an identity was issued, and until when its certificates are revoked.
func standing(ctx context.Context, tx *sql.Tx, role, name string) (issued, revoked time.Time, err error) {
	var issuedAt, revokedAt int64
	err = tx.QueryRowContext(ctx, `SELECT issued, revoked FROM identities WHERE role = $1 AND name = $2`, role, name).Scan(&issuedAt, &revokedAt)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, time.Time{}, err
	}
	return fromMicros(issuedAt), fromMicros(revokedAt), nil
}

func putCertificate(ctx context.Context, tx *sql.Tx, id Identity) error {
	_, err := tx.ExecContext(ctx,
		`INSERT INTO identities (role, name, serial, issued, expires, key_hash, authority, version, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)
		ON CONFLICT (role, name) DO UPDATE SET
			serial = excluded.serial, issued = excluded.issued, expires = excluded.expires, key_hash = excluded.key_hash,
			authority = excluded.authority, version = excluded.version
		WHERE identities.issued < excluded.issued`,
		id.Role, id.Name, id.Serial, toMicros(id.Issued), toMicros(id.Expires), id.Key, id.Authority, storable(id.Version))
	return err
}

// Revoke refuses everything that was issued to an identity until at, and voids its tokens, also those whose redemption could
// be repeated. It returns until when everything is refused: later than at when an earlier revocation says so, or a
// certificate that was issued by a clock that is ahead.
func (s *Store) Revoke(ctx context.Context, role, name string, at time.Time) (until time.Time, err error) {
	err = s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if until, err = s.revoke(ctx, tx, role, name, at); err != nil || role != roleCluster {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM tokens WHERE cluster = $1`, name)
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("revoke %s/%s: %w", role, name, err)
	}
	return until, nil
}

func (s *Store) revoke(ctx context.Context, tx *sql.Tx, role, name string, at time.Time) (until time.Time, err error) {
	issued, revoked, err := standing(ctx, tx, role, name)
	if err != nil {
		return time.Time{}, err
	}
	until = slices.MaxFunc([]time.Time{at.Truncate(time.Microsecond), issued, revoked}, time.Time.Compare)
	_, err = tx.ExecContext(ctx,
		`INSERT INTO identities (role, name, serial, issued, expires, key_hash, authority, version, revoked) VALUES ($1, $2, '', 0, 0, '', '', '', $3)
		ON CONFLICT (role, name) DO UPDATE SET revoked = excluded.revoked`,
		role, name, toMicros(until))
	if err != nil {
		return time.Time{}, err
	}
	return until, s.engine.announce(ctx, tx, Revocations)
}

const identityColumns = `SELECT role, name, serial, issued, expires, key_hash, authority, version, revoked FROM identities`

// Identity returns what is known of one identity; false when nothing is.
func (s *Store) Identity(ctx context.Context, role, name string) (Identity, bool, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	rows, err := s.read.QueryContext(ctx, identityColumns+` WHERE role = $1 AND name = $2`, role, name)
	if err != nil {
		return Identity{}, false, fmt.Errorf("read identity %s/%s: %w", role, name, err)
	}
	found, err := scanIdentities(rows)
	if err != nil || len(found) == 0 {
		return Identity{}, false, err
	}
	return found[0], true, nil
}

// Revocations returns everybody who was ever revoked, in no order.
func (s *Store) Revocations(ctx context.Context) ([]Identity, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	rows, err := s.read.QueryContext(ctx, identityColumns+` WHERE revoked > 0`)
	if err != nil {
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	return scanIdentities(rows)
}

// Identities returns everybody, clusters that have only a token included, in no order.
func (s *Store) Identities(ctx context.Context) ([]Identity, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	rows, err := s.read.QueryContext(ctx, identityColumns)
	if err != nil {
		return nil, fmt.Errorf("read identities: %w", err)
	}
	found, err := scanIdentities(rows)
	if err != nil {
		return nil, err
	}
	open, err := s.openTokens(ctx)
	if err != nil {
		return nil, err
	}
	for i, id := range found {
		if id.Role == roleCluster {
			found[i].TokenExpires = open[id.Name]
			delete(open, id.Name)
		}
	}
	for name, expires := range open {
		found = append(found, Identity{Role: roleCluster, Name: name, TokenExpires: expires})
	}
	return found, nil
}

// openTokens returns until when each cluster can, or could, redeem a token that nobody has redeemed.
func (s *Store) openTokens(ctx context.Context) (map[string]time.Time, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT cluster, MAX(expires) FROM tokens WHERE redeemed = 0 GROUP BY cluster`)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	defer rows.Close()
	open := map[string]time.Time{}
	for rows.Next() {
		var cluster string
		var expires int64
		if err := rows.Scan(&cluster, &expires); err != nil {
			return nil, fmt.Errorf("read tokens: %w", err)
		}
		open[cluster] = fromMicros(expires)
	}
	return open, rows.Err()
}

func scanIdentities(rows *sql.Rows) ([]Identity, error) {
	defer rows.Close()
	var found []Identity
	for rows.Next() {
		var id Identity
		var issued, expires, revoked int64
		if err := rows.Scan(&id.Role, &id.Name, &id.Serial, &issued, &expires, &id.Key, &id.Authority, &id.Version, &revoked); err != nil {
			return nil, fmt.Errorf("read identities: %w", err)
		}
		id.Issued, id.Expires, id.Revoked = fromMicros(issued), fromMicros(expires), fromMicros(revoked)
		found = append(found, id)
	}
	return found, rows.Err()
}

// tokenAge is how long a token is remembered after it expired, so that a late caller is told what happened to it.
const tokenAge = 7 * 24 * time.Hour

func (s *Store) pruneTokens(ctx context.Context) error {
	return s.exec(ctx, `DELETE FROM tokens WHERE expires < $1`, toMicros(time.Now().Add(-tokenAge)))
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
