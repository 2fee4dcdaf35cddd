package store

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

// Sizes of pages.
const (
	// DefaultPageSize is how many events a page has when nobody says.
	DefaultPageSize = 100
	// MaxPageSize bounds a page.
	MaxPageSize = 1000
)

// EventFilter narrows events; empty fields match everything.
type EventFilter struct {
	// Cluster matches events of this cluster, and events of no cluster about a commit or digest that an event of this
	// cluster is about.
	Cluster string
	// SyncNamespace, SyncName and SyncUID match events of these Syncs.
	SyncNamespace, SyncName, SyncUID string
	// Commit and ContentID are hexadecimal.
	Commit, ContentID string
	// Digest is an image digest that the event is about.
	Digest string
	// States matches any of them.
	States []statusv1.EventState
	// Since matches events at or after this time, by the clock of who saw them.
	Since time.Time
}

// Page asks for a part of a list.
type Page struct {
	// Size is how many at most; 0 means 100, more than 1,000 means 1,000.
	Size int
	// Token is where to go on: what the page before returned as next, or empty.
	Token string
}

// Record is an event with its place in the log.
type Record struct {
	// Seq grows by one from event to event, in the order of arrival.
	Seq int64
	// Event is what happened.
	Event *statusv1.Event

	time int64
}

// ListEvents returns matching events, newest first, and the token of the next page, empty after the last. Pages hold
// still: events that arrive between two pages neither repeat nor hide any that were there before.
func (s *Store) ListEvents(ctx context.Context, filter EventFilter, page Page) (events []*statusv1.Event, next string, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	size, from, err := page.parse(filter)
	if err != nil {
		return nil, "", err
	}
	var records []Record
	for _, scope := range filter.scopes() {
		q := scope
		if from != nil {
			q.where("(time, seq) < ($, $)", from.time, from.seq)
		}
		found, err := s.selectEvents(ctx, q, "time DESC, seq DESC", size+1)
		if err != nil {
			return nil, "", fmt.Errorf("list events: %w", err)
		}
		records = append(records, found...)
	}
	slices.SortFunc(records, newestFirst)
	if len(records) > size {
		records = records[:size]
		last := records[size-1]
		next = position{time: last.time, seq: last.Seq, filter: filter.fingerprint()}.token()
	}
	for _, record := range records {
		events = append(events, record.Event)
	}
	return events, next, nil
}

// EventsSince returns up to limit matching events that arrived after the one with a seq, in the order of arrival. Every
// event up to upTo was looked at: go on from there. An event of no cluster that arrived before any event connects it with
// the filter's cluster is passed over; ListEvents finds it later.
func (s *Store) EventsSince(ctx context.Context, after int64, filter EventFilter, limit int) (records []Record, upTo int64, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	limit = min(max(limit, 1), MaxPageSize)
	// Read first: what arrives in between is above it and comes next time.
	newest, err := s.LastSeq(ctx)
	if err != nil {
		return nil, after, err
	}
	for _, q := range filter.scopes() {
		q.where("seq > $ AND seq <= $", after, newest)
		found, err := s.selectEvents(ctx, q, "seq", limit)
		if err != nil {
			return nil, after, fmt.Errorf("read events: %w", err)
		}
		records = append(records, found...)
	}
	slices.SortFunc(records, func(a, b Record) int { return int(a.Seq - b.Seq) })
	if len(records) < limit {
		return records, max(newest, after), nil
	}
	records = records[:limit]
	return records, records[limit-1].Seq, nil
}

// LastSeq returns the place of the newest event, 0 when there was none ever.
func (s *Store) LastSeq(ctx context.Context) (seq int64, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := s.read.QueryRowContext(ctx, readCounter).Scan(&seq); err != nil {
		return 0, fmt.Errorf("read events: %w", err)
	}
	return seq, nil
}

func (s *Store) selectEvents(ctx context.Context, q conditions, order string, limit int) ([]Record, error) {
	query := "SELECT seq, time, payload FROM events " + q.sql() + " ORDER BY " + order + fmt.Sprintf(" LIMIT %d", limit) //nolint:gosec // made of constants; values are arguments
	rows, err := s.read.QueryContext(ctx, query, q.args...)
	if err != nil {
		return nil, err
	}
	return scanEvents(rows)
}

func newestFirst(a, b Record) int {
	switch {
	case a.time != b.time:
		return sign(a.time < b.time)
	case a.Seq != b.Seq:
		return sign(a.Seq < b.Seq)
	default:
		return 0
	}
}

func sign(positive bool) int {
	if positive {
		return 1
	}
	return -1
}

// conditions collects the parts of a WHERE clause.
type conditions struct {
	parts []string
	args  []any
}

// where adds a condition; each $ in it stands for the next argument.
func (c *conditions) where(part string, args ...any) {
	var numbered strings.Builder
	next := len(c.args)
	for _, r := range part {
		numbered.WriteRune(r)
		if r == '$' {
			next++
			fmt.Fprintf(&numbered, "%d", next)
		}
	}
	c.parts = append(slices.Clip(c.parts), numbered.String())
	c.args = append(slices.Clip(c.args), args...)
}

func (c *conditions) sql() string {
	if len(c.parts) == 0 {
		return ""
	}
	return "WHERE " + strings.Join(c.parts, " AND ")
}

// sharesSubject holds for events of no cluster about a commit or digest that a cluster's event is about.
const sharesSubject = `(
	EXISTS (SELECT 1 FROM cluster_subjects c WHERE c.subject = events.commit_id AND c.cluster = $)
	OR EXISTS (SELECT 1 FROM event_digests d
		JOIN cluster_subjects c ON c.subject = d.digest
		WHERE d.seq = events.seq AND c.cluster = $))`

// scopes returns the conditions of one or two disjoint sets of events, which together are the filter's. Two, because an
// OR over the cluster would keep the engine from using an index.
func (f EventFilter) scopes() []conditions {
	var base conditions
	equal := func(column, value string) {
		if value != "" {
			base.where(column+" = $", value)
		}
	}
	equal("sync_namespace", f.SyncNamespace)
	equal("sync_name", f.SyncName)
	equal("sync_uid", f.SyncUID)
	equal("commit_id", f.Commit)
	equal("content_id", f.ContentID)
	if f.Digest != "" {
		base.where("seq IN (SELECT seq FROM event_digests WHERE digest = $)", f.Digest)
	}
	if !f.Since.IsZero() {
		base.where("time >= $", f.Since.UnixMicro())
	}
	if len(f.States) > 0 {
		args := make([]any, len(f.States))
		for i, state := range f.States {
			args[i] = int32(state)
		}
		base.where("state IN ("+strings.TrimSuffix(strings.Repeat("$, ", len(args)), ", ")+")", args...)
	}
	if f.Cluster == "" {
		return []conditions{base}
	}
	own, related := base, base
	own.where("cluster = $", f.Cluster)
	related.where("cluster = ''")
	related.where(sharesSubject, f.Cluster, f.Cluster)
	return []conditions{own, related}
}

// fingerprint tells filters apart, so that a token is not used with another one.
func (f EventFilter) fingerprint() uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%q", []string{f.Cluster, f.SyncNamespace, f.SyncName, f.SyncUID, f.Commit, f.ContentID, f.Digest})
	fmt.Fprintf(h, "%v %d", f.States, toMicros(f.Since))
	return h.Sum32()
}

// position is where a page ended.
type position struct {
	time, seq int64
	filter    uint32
}

// tokenVersion is the first byte of a token.
const tokenVersion = 1

func (p position) token() string {
	raw := []byte{tokenVersion}
	raw = binary.BigEndian.AppendUint64(raw, uint64(p.time))
	raw = binary.BigEndian.AppendUint64(raw, uint64(p.seq))
	raw = binary.BigEndian.AppendUint32(raw, p.filter)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// parse returns the size of a page and where it begins, nil for the beginning.
func (p Page) parse(filter EventFilter) (size int, from *position, err error) {
	switch {
	case p.Size < 0:
		return 0, nil, fault.New(fault.Invalid, "page size %d is negative", p.Size)
	case p.Size == 0:
		size = DefaultPageSize
	default:
		size = min(p.Size, MaxPageSize)
	}
	if p.Token == "" {
		return size, nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(p.Token)
	if err != nil || len(raw) != 21 || raw[0] != tokenVersion {
		return 0, nil, fault.New(fault.Invalid, "page token is not one that a page before has returned")
	}
	from = &position{
		time:   int64(binary.BigEndian.Uint64(raw[1:])),
		seq:    int64(binary.BigEndian.Uint64(raw[9:])),
		filter: binary.BigEndian.Uint32(raw[17:]),
	}
	if from.filter != filter.fingerprint() {
		return 0, nil, fault.New(fault.Invalid, "page token belongs to a list with another filter")
	}
	return size, from, nil
}
