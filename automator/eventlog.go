package automator

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/automator/internal/update"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/revision"
)

// watchBatch is how many stored events are read at a time for a watcher.
const watchBatch = 500

// eventLog is the store as the relay, the writers and StatusService see it.
type eventLog struct {
	unstored

	store *store.Store
}

// AppendEvents stores events of clusters.
func (l *eventLog) AppendEvents(ctx context.Context, events []*statusv1.Event) error {
	if len(events) == 0 {
		return nil
	}
	_, err := l.store.AppendEvents(ctx, events)
	l.note(err)
	return err
}

// Record stores events of a writer.
func (l *eventLog) Record(ctx context.Context, events []update.Event) error {
	out := make([]*statusv1.Event, 0, len(events))
	for _, e := range events {
		out = append(out, eventToProto(e))
	}
	return l.AppendEvents(ctx, out)
}

func eventToProto(e update.Event) *statusv1.Event {
	out := &statusv1.Event{
		Id: e.ID[:], Time: timestamppb.New(e.Time), State: stateToProto(e.State), Source: revision.SourceToProto(e.Source),
		App: e.App, Environment: e.Environment, Message: e.Message, Revision: revision.ToProto(revision.Revision{Commit: e.Commit}),
	}
	for _, image := range e.Images {
		out.Images = append(out.Images, imageToProto(image))
	}
	for _, p := range e.Problems {
		out.Problems = append(out.Problems, &statusv1.Problem{
			Kind: statusv1.ProblemKind_PROBLEM_KIND_COMMIT, Message: p.Message, File: p.File, Line: int32(p.Line),
		})
	}
	return out
}

func stateToProto(s update.State) statusv1.EventState {
	switch s {
	case update.Detected:
		return statusv1.EventState_EVENT_STATE_DETECTED
	case update.Committed:
		return statusv1.EventState_EVENT_STATE_COMMITTED
	case update.Rejected:
		return statusv1.EventState_EVENT_STATE_REJECTED
	}
	return statusv1.EventState_EVENT_STATE_UNSPECIFIED
}

func imageToProto(image pipeline.ReleaseImage) *revisionv1.Image {
	return &revisionv1.Image{Name: image.Name, Repository: image.Repository, Tag: image.Tag, Digest: image.Digest}
}

// ListEvents returns a page of events, newest first.
func (l *eventLog) ListEvents(ctx context.Context, filter *statusv1.EventFilter, size int, token string) ([]*statusv1.Event, string, error) {
	return l.store.ListEvents(ctx, filterOf(filter), store.Page{Size: size, Token: token})
}

func filterOf(f *statusv1.EventFilter) store.EventFilter {
	out := store.EventFilter{
		Cluster: f.GetCluster(), SyncNamespace: f.GetSyncNamespace(), SyncName: f.GetSyncName(),
		Commit: f.GetCommit(), Digest: f.GetDigest(), States: f.GetStates(),
	}
	if f.GetSince() != nil {
		out.Since = f.GetSince().AsTime()
	}
	return out
}

// WatchEvents calls fn for each event from filter.since or from now on, in the order in which they were stored.
func (l *eventLog) WatchEvents(ctx context.Context, filter *statusv1.EventFilter, fn func(*statusv1.Event) error) error {
	appended, cancel := l.store.Subscribe(store.Events)
	defer cancel()
	after := int64(0)
	if filter.GetSince() == nil {
		var err error
		if after, err = l.store.LastSeq(ctx); err != nil {
			return err
		}
	}
	for {
		records, upTo, err := l.store.EventsSince(ctx, after, filterOf(filter), watchBatch)
		if err != nil {
			return fault.New(fault.Internal, "read events: %w", err)
		}
		for _, record := range records {
			if err := fn(record.Event); err != nil {
				return err
			}
		}
		if after = upTo; len(records) == watchBatch {
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("watch events: %w", ctx.Err())
		case <-appended:
		}
	}
}
