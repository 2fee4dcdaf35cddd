package fleet

import (
	"context"
	"slices"
	"strconv"
	"sync"

	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// Recent keeps the newest events in memory, for an agent that has no store. It is safe for concurrent use.
type Recent struct {
	mu     sync.Mutex
	limit  int
	first  int64 // the number of events[0]
	events []*statusv1.Event
	wake   chan struct{} // closed and replaced when an event is added
}

// NewRecent returns a Recent that keeps up to limit events.
func NewRecent(limit int) *Recent {
	return &Recent{limit: limit, wake: make(chan struct{})}
}

// Add keeps an event and drops the oldest one when there are too many.
func (r *Recent) Add(event *statusv1.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
	if over := len(r.events) - r.limit; over > 0 {
		r.events = slices.Delete(r.events, 0, over)
		r.first += int64(over)
	}
	close(r.wake)
	r.wake = make(chan struct{})
}

// ListEvents returns a page of events, newest first. The token is the number of the oldest event already shown.
func (r *Recent) ListEvents(_ context.Context, filter *statusv1.EventFilter, size int, token string) ([]*statusv1.Event, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.first + int64(len(r.events))
	if token != "" {
		parsed, err := strconv.ParseInt(token, 10, 64)
		if err != nil {
			return nil, "", fault.New(fault.Invalid, "page_token %.40q is not one that this server gave", token)
		}
		before = min(before, parsed)
	}
	var page []*statusv1.Event
	for n := before - 1; n >= r.first; n-- {
		if !MatchesEvent(filter, r.events[n-r.first]) {
			continue
		}
		if len(page) == size {
			return page, strconv.FormatInt(n+1, 10), nil
		}
		page = append(page, r.events[n-r.first])
	}
	return page, "", nil
}

// WatchEvents calls fn for each event from filter.since or from now on. A watcher that falls behind what is kept misses
// the oldest events.
func (r *Recent) WatchEvents(ctx context.Context, filter *statusv1.EventFilter, fn func(*statusv1.Event) error) error {
	next := int64(0)
	if filter.GetSince() == nil {
		next = r.end()
	}
	for {
		batch, end, wake := r.from(next)
		next = end
		for _, event := range batch {
			if !MatchesEvent(filter, event) {
				continue
			}
			if err := fn(event); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		}
	}
}

func (r *Recent) end() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first + int64(len(r.events))
}

func (r *Recent) from(next int64) (batch []*statusv1.Event, end int64, wake <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end = r.first + int64(len(r.events))
	return slices.Clone(r.events[min(max(next-r.first, 0), int64(len(r.events))):]), end, r.wake
}

// MatchesEvent reports whether an event passes a filter.
func MatchesEvent(filter *statusv1.EventFilter, event *statusv1.Event) bool {
	return (either(filter.GetCluster(), event.GetCluster()) || event.GetCluster() == "") &&
		either(filter.GetSyncNamespace(), event.GetSyncNamespace()) && either(filter.GetSyncName(), event.GetSyncName()) &&
		either(filter.GetCommit(), commitOf(event)) && hasDigest(filter.GetDigest(), event.GetImages()) &&
		(len(filter.GetStates()) == 0 || slices.Contains(filter.GetStates(), event.GetState())) &&
		(filter.GetSince() == nil || !event.GetTime().AsTime().Before(filter.GetSince().AsTime()))
}

func commitOf(event *statusv1.Event) string {
	id, err := revision.ObjectFromProto(event.GetRevision().GetCommit())
	if err != nil || id == (gitobject.ID{}) {
		return ""
	}
	return id.String()
}

func hasDigest(digest string, images []*revisionv1.Image) bool {
	return digest == "" || slices.ContainsFunc(images, func(i *revisionv1.Image) bool { return i.GetDigest() == digest })
}
