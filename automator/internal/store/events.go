package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

const (
	// MaxEventBytes bounds one event in the log.
	MaxEventBytes = 256 << 10
	// MaxKeyBytes bounds each text that events are found by, such as the name of a Sync: indices take no longer ones.
	MaxKeyBytes = 1024
)

// AppendEvents adds events to the log in their order and returns those that it did not have yet. An event with an id that
// is in the log is passed over, whatever it says. Once AppendEvents has returned without an error the events survive a
// crash and a power cut; with an error none of them was added.
func (s *Store) AppendEvents(ctx context.Context, events []*statusv1.Event) (fresh []*statusv1.Event, err error) {
	rows := make([]eventRow, len(events))
	for i, event := range events {
		if rows[i], err = newEventRow(event); err != nil {
			return nil, err
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	err = s.inTransaction(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := appendRows(ctx, tx, rows, func(i int) { fresh = append(fresh, events[i]) })
		if err != nil || len(fresh) == 0 {
			return err
		}
		return s.engine.announce(ctx, tx, Events)
	})
	if err != nil {
		return nil, fmt.Errorf("append %d events: %w", len(events), err)
	}
	s.metrics.events.WithLabelValues().Add(float64(len(fresh)))
	if len(fresh) > 0 {
		s.signals.notify(Events)
	}
	return fresh, nil
}

const (
	readCounter = `SELECT value FROM counters WHERE name = 'events'`

	setCounter = `UPDATE counters SET value = $1 WHERE name = 'events'`

	insertEvent = `INSERT INTO events
		(id, seq, arrived, time, state, cluster, sync_namespace, sync_name, sync_uid, commit_id, content_id, payload)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (id) DO NOTHING`

	insertDigest = `INSERT INTO event_digests (digest, seq) VALUES ($1, $2)`

	putSubject = `INSERT INTO cluster_subjects (subject, cluster, last_seq) VALUES ($1, $2, $3)
		ON CONFLICT (subject, cluster) DO UPDATE SET last_seq = excluded.last_seq`
)

// appendRows inserts rows and calls added for those that were not there.
func appendRows(ctx context.Context, tx *sql.Tx, rows []eventRow, added func(i int)) error {
	var seq int64
	if err := tx.QueryRowContext(ctx, readCounter).Scan(&seq); err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, insertEvent)
	if err != nil {
		return err
	}
	defer insert.Close()
	arrived := toMicros(time.Now())
	for i, row := range rows {
		result, err := insert.ExecContext(ctx, row.id, seq+1, arrived, row.time, row.state,
			row.cluster, row.namespace, row.name, row.uid, row.commit, row.content, row.payload)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			if err != nil {
				return err
			}
			continue
		}
		seq++
		if err := row.link(ctx, tx, seq); err != nil {
			return err
		}
		added(i)
	}
	_, err = tx.ExecContext(ctx, setCounter, seq)
	return err
}

// eventRow is an event as the log has it.
type eventRow struct {
	id, payload                                    []byte
	time                                           int64
	state                                          int32
	cluster, namespace, name, uid, commit, content string
	digests                                        []string
}

// link makes an event findable by what it is about.
func (r eventRow) link(ctx context.Context, tx *sql.Tx, seq int64) error {
	for _, digest := range r.digests {
		if _, err := tx.ExecContext(ctx, insertDigest, digest, seq); err != nil {
			return err
		}
	}
	if r.cluster == "" {
		return nil
	}
	for _, subject := range append(slices.Clip(r.digests), r.commit) {
		if subject == "" {
			continue
		}
		if _, err := tx.ExecContext(ctx, putSubject, subject, r.cluster, seq); err != nil {
			return err
		}
	}
	return nil
}

func newEventRow(event *statusv1.Event) (eventRow, error) {
	if len(event.GetId()) != sha256.Size {
		return eventRow{}, fault.New(fault.Invalid, "event has an id of %d bytes, not %d", len(event.GetId()), sha256.Size)
	}
	if err := event.GetTime().CheckValid(); err != nil {
		return eventRow{}, fault.New(fault.Invalid, "event %x has no valid time", event.GetId())
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(event)
	if err != nil {
		return eventRow{}, fault.New(fault.Invalid, "event %x: %w", event.GetId(), err)
	}
	if len(payload) > MaxEventBytes {
		return eventRow{}, fault.New(fault.Invalid, "event %x has %d bytes, more than %d", event.GetId(), len(payload), MaxEventBytes)
	}
	row := eventRow{
		id:        event.GetId(),
		payload:   payload,
		time:      event.GetTime().AsTime().UnixMicro(),
		state:     int32(event.GetState()),
		cluster:   event.GetCluster(),
		namespace: event.GetSyncNamespace(),
		name:      event.GetSyncName(),
		uid:       event.GetSyncUid(),
		commit:    hex.EncodeToString(event.GetRevision().GetCommit().GetValue()),
		content:   hex.EncodeToString(event.GetRevision().GetContentId()),
	}
	for _, image := range event.GetImages() {
		if image.GetDigest() != "" {
			row.digests = append(row.digests, image.GetDigest())
		}
	}
	slices.Sort(row.digests)
	row.digests = slices.Compact(row.digests)
	return row, row.checkKeys()
}

// checkKeys refuses texts that cannot be stored as keys.
func (r eventRow) checkKeys() error {
	for _, key := range append(slices.Clip(r.digests), r.cluster, r.namespace, r.name, r.uid, r.commit, r.content) {
		if len(key) > MaxKeyBytes {
			return fault.New(fault.Invalid, "event %x names something with %d bytes, more than %d", r.id, len(key), MaxKeyBytes)
		}
		if strings.Contains(key, "\x00") {
			return fault.New(fault.Invalid, "event %x names something with a zero byte: %q", r.id, key)
		}
	}
	return nil
}

// scanEvents reads rows of (seq, time, payload).
func scanEvents(rows *sql.Rows) ([]Record, error) {
	defer rows.Close()
	var records []Record
	for rows.Next() {
		var record Record
		var payload []byte
		if err := rows.Scan(&record.Seq, &record.time, &payload); err != nil {
			return nil, err
		}
		record.Event = &statusv1.Event{}
		if err := proto.Unmarshal(payload, record.Event); err != nil {
			return nil, fmt.Errorf("event %d of the log is damaged: %w", record.Seq, err)
		}
		records = append(records, record)
	}
	return records, rows.Err()
}
