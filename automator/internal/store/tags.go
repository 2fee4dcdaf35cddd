package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tandem-cd/tandem/shared/instant"
)

// Scan says how looking at an image repository went.
type Scan struct {
	// LastAttempt is when it was looked at last.
	LastAttempt time.Time
	// LastComplete is when all of its tags were listed last; zero for never.
	LastComplete time.Time
	// LastError is why the last attempt was not complete; empty when it was.
	LastError string
}

// Tag is a tag of an image repository. There may be millions of them in memory.
type Tag struct {
	// Name is the tag.
	Name string
	// Digest is what it pointed to when somebody asked; empty when nobody did.
	Digest string
	// FirstSeen is when it was seen first.
	FirstSeen instant.Micros
	// LastSeen is the last complete list that had it, for a tag that vanished from the list; zero while it is listed.
	LastSeen instant.Micros
	// Moved is when the digest was first seen, for a tag that pointed to something else before; else zero.
	Moved instant.Micros
	// Inspected is the digest of the image that somebody looked at; empty when nobody did.
	Inspected string
	// Created is when that image says it was made; zero when it does not say.
	Created instant.Micros
	// Platforms are those of that image, separated by spaces.
	Platforms string
}

// LastMoved is when the tag was first seen to point to what it does.
func (t *Tag) LastMoved() instant.Micros { return max(t.FirstSeen, t.Moved) }

// Tags returns what is known of a repository, tags by name.
func (s *Store) Tags(ctx context.Context, repository string) (scan Scan, tags []Tag, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	var attempt, complete int64
	err = s.read.QueryRowContext(ctx, `SELECT last_attempt, last_complete, last_error FROM scans WHERE repository = $1`, repository).
		Scan(&attempt, &complete, &scan.LastError)
	if err == sql.ErrNoRows { //nolint:errorlint // database/sql returns it as it is
		return Scan{}, nil, nil
	}
	if err != nil {
		return Scan{}, nil, fmt.Errorf("read tags of %s: %w", repository, err)
	}
	scan.LastAttempt, scan.LastComplete = fromMicros(attempt), fromMicros(complete)
	rows, err := s.read.QueryContext(ctx, selectTags, repository)
	if err != nil {
		return Scan{}, nil, fmt.Errorf("read tags of %s: %w", repository, err)
	}
	defer rows.Close()
	for rows.Next() {
		var tag Tag
		if err := rows.Scan(&tag.Name, &tag.Digest, &tag.FirstSeen, &tag.LastSeen, &tag.Moved, &tag.Inspected, &tag.Created, &tag.Platforms); err != nil {
			return Scan{}, nil, fmt.Errorf("read tags of %s: %w", repository, err)
		}
		tags = append(tags, tag)
	}
	return scan, tags, rows.Err()
}

const (
	selectTags = `SELECT tag, digest, first_seen, last_seen, moved, inspected, created, platforms FROM tags WHERE repository = $1 ORDER BY tag`

	putScan = `INSERT INTO scans (repository, last_attempt, last_complete, last_error) VALUES ($1, $2, $3, $4)
		ON CONFLICT (repository) DO UPDATE SET
			last_attempt = excluded.last_attempt, last_complete = excluded.last_complete, last_error = excluded.last_error`

	// What was recorded since of the same repository is newer.
	putUneventfulScan = putScan + ` WHERE excluded.last_attempt > scans.last_attempt`

	putTag = `INSERT INTO tags (repository, tag, digest, first_seen, last_seen, moved, inspected, created, platforms)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (repository, tag) DO UPDATE SET
			digest = excluded.digest, first_seen = excluded.first_seen, last_seen = excluded.last_seen, moved = excluded.moved,
			inspected = excluded.inspected, created = excluded.created, platforms = excluded.platforms`
)

// PutScans records how scans went that changed no tag, by repository. A scan is left out where a later one is recorded.
func (s *Store) PutScans(ctx context.Context, scans map[string]Scan) error {
	err := s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		put, err := tx.PrepareContext(ctx, putUneventfulScan)
		if err != nil {
			return err
		}
		defer put.Close()
		for _, repository := range slices.Sorted(maps.Keys(scans)) { // in one order, so that no two writers wait for each other
			scan := scans[repository]
			if _, err := put.ExecContext(ctx, repository, toMicros(scan.LastAttempt), toMicros(scan.LastComplete), storable(scan.LastError)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write %d scans: %w", len(scans), err)
	}
	return nil
}

// PutTags records how a scan went and the tags that it changed. Tags that are not named stay as they are.
func (s *Store) PutTags(ctx context.Context, repository string, scan Scan, changed []Tag) error {
	err := s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, putScan, repository, toMicros(scan.LastAttempt), toMicros(scan.LastComplete), storable(scan.LastError)); err != nil {
			return err
		}
		if len(changed) == 0 {
			return nil
		}
		put, err := tx.PrepareContext(ctx, putTag)
		if err != nil {
			return err
		}
		defer put.Close()
		for _, tag := range changed {
			_, err := put.ExecContext(ctx, repository, storable(tag.Name), storable(tag.Digest), tag.FirstSeen, tag.LastSeen,
				tag.Moved, storable(tag.Inspected), tag.Created, storable(tag.Platforms))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write tags of %s: %w", repository, err)
	}
	return nil
}
