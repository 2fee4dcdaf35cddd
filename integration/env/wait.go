package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/revision"
)

const (
	// WaitTimeout bounds a wait for what the agents should do at once, on a machine
	// that does much else.
	WaitTimeout = 60 * time.Second
	// reopen is how soon a stream that was cut is opened again.
	reopen = 100 * time.Millisecond
)

var errWaited = errors.New("waited in vain")

// redial is how soon a killed agent is dialled again.
func redial() grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: reopen, Multiplier: 1, MaxDelay: reopen},
		MinConnectTimeout: 5 * time.Second,
	}
}

// Condition says whether a Sync is as it should be.
type Condition func(*statusv1.Sync) bool

// Healthy is a Sync whose newest announced content runs.
func Healthy(s *statusv1.Sync) bool { return s.GetState() == statusv1.SyncState_SYNC_STATE_HEALTHY }

// HealthyAt is a Sync that runs a commit, or another with the same content.
func HealthyAt(commit string) Condition {
	return func(s *statusv1.Sync) bool { return Healthy(s) && commitOf(s.GetHealthy().GetRevision()) == commit }
}

func commitOf(r *revisionv1.Revision) string {
	id, err := revision.ObjectFromProto(r.GetCommit())
	if err != nil {
		return ""
	}
	return id.String()
}

// WaitSync waits until the automator sees a Sync of a site as it should be. It
// asks again when the automator is killed meanwhile.
func (w *World) WaitSync(ctx context.Context, site, name string, ok Condition) (*statusv1.Sync, error) {
	client, err := w.Status()
	if err != nil {
		return nil, err
	}
	return waitSync(ctx, client, &statusv1.SyncFilter{Cluster: site, Name: name}, ok)
}

// WaitSync waits until the site's synchronizer says that a Sync is as it should
// be.
func (s *Site) WaitSync(ctx context.Context, name string, ok Condition) (*statusv1.Sync, error) {
	client, err := s.Status()
	if err != nil {
		return nil, err
	}
	return waitSync(ctx, client, &statusv1.SyncFilter{Namespace: s.Namespace, Name: name}, ok)
}

func waitSync(ctx context.Context, client statusv1.StatusServiceClient, filter *statusv1.SyncFilter, ok Condition) (*statusv1.Sync, error) {
	var last *statusv1.Sync
	err := waiting(ctx, func(ctx context.Context) error {
		stream, err := client.WatchSyncs(ctx, &statusv1.WatchSyncsRequest{Filter: filter})
		if err != nil {
			return err
		}
		return each(stream.Recv, func(change *statusv1.WatchSyncsResponse) bool {
			if sync := change.GetSync(); sync != nil {
				last = sync
				return ok(sync)
			}
			return false
		})
	})
	if err != nil {
		return last, fmt.Errorf("sync %s/%s is not as it should be: %w; it is %s", filter.GetCluster(), filter.GetName(), err, text(last))
	}
	return last, nil
}

// WaitEvents waits until the events that the automator has stored so far, oldest
// first, are what they should be.
func (w *World) WaitEvents(ctx context.Context, filter *statusv1.EventFilter, ok func([]*statusv1.Event) bool) ([]*statusv1.Event, error) {
	client, err := w.Status()
	if err != nil {
		return nil, err
	}
	if filter.GetSince() == nil {
		filter = proto.CloneOf(filter)
		filter.Since = timestamppb.New(time.Unix(1, 0))
	}
	var events []*statusv1.Event
	err = waiting(ctx, func(ctx context.Context) error {
		events = nil
		stream, err := client.WatchEvents(ctx, &statusv1.WatchEventsRequest{Filter: filter})
		if err != nil {
			return err
		}
		return each(stream.Recv, func(response *statusv1.WatchEventsResponse) bool {
			events = append(events, response.GetEvent())
			return ok(events)
		})
	})
	if err != nil {
		return events, fmt.Errorf("events are not as they should be: %w; there are %s", err, eventsText(events))
	}
	return events, nil
}

// waiting opens a stream, and again whenever it is cut, until one has seen what
// it is for or time is up: that of the caller, or WaitTimeout.
func waiting(ctx context.Context, watch func(context.Context) error) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, WaitTimeout, errWaited)
		defer cancel()
	}
	for {
		err := watch(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(reopen):
		}
	}
}

// each takes messages until one satisfies; a stream that ends before is an error.
func each[M any](receive func() (M, error), satisfies func(M) bool) error {
	for {
		message, err := receive()
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if satisfies(message) {
			return nil
		}
	}
}

func text(message proto.Message) string {
	raw, err := protojson.Marshal(message)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func eventsText(events []*statusv1.Event) string {
	var out strings.Builder
	for _, event := range events {
		fmt.Fprintf(&out, "\n  %s %s %s", event.GetTime().AsTime().Format(time.StampMilli), event.GetState(), event.GetMessage())
	}
	return out.String()
}
