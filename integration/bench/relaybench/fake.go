package relaybench

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/fault"
)

// The rules of the real synchronizer: see its packages relay and report.
const (
	protocol = 1
	silences = 3 // heartbeats that may be missed
)

var errDrained = errors.New("asked to connect anew")

// fake is a synchronizer without a cluster: it follows one source, fetches what is announced, reports one Sync, and
// acknowledges each announcement by an event as the real one does.
type fake struct {
	name    string
	crowd   *crowd
	link    link
	paths   []string
	backoff backoff.Backoff

	epoch     atomic.Int64
	following atomic.Int64 // since when, in Unix nanoseconds; 0 while it does not
	reporting atomic.Int64
	kick      chan struct{}

	mu   sync.Mutex
	held *revisionv1.Revision
	tell *relayv1.Announcement // what is to be acknowledged
}

// run follows and reports until the context is done.
func (f *fake) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.again(ctx, f.follow, &f.following) })
	group.Go(func() error { return f.again(ctx, f.report, &f.reporting) })
	err := group.Wait()
	f.link.close()
	return err
}

// again runs a stream whenever it ends, spread out as the real synchronizer spreads it.
func (f *fake) again(ctx context.Context, stream func(context.Context) (time.Duration, error), since *atomic.Int64) error {
	attempt := 0
	for ctx.Err() == nil {
		started := time.Now()
		after, err := stream(ctx)
		welcomed := since.Swap(0) != 0
		if errors.Is(err, errDrained) {
			attempt = 0
			_ = pause(ctx, after)
			continue
		}
		attempt = backoff.After(attempt, welcomed, time.Since(started))
		f.crowd.failed(err)
		_ = f.backoff.Wait(ctx, attempt)
		attempt++
	}
	return nil
}

func (f *fake) hello() *relayv1.Hello {
	return &relayv1.Hello{Cluster: f.name, Replica: "a", Epoch: f.epoch.Add(1), Protocol: protocol, Version: "bench"}
}

func (f *fake) source() *revisionv1.Source {
	return &revisionv1.Source{Repository: repository, Ref: "refs/heads/main"}
}

// follow is one Follow stream.
func (f *fake) follow(ctx context.Context) (after time.Duration, err error) {
	conn, err := f.link.get()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.mu.Lock()
	held := f.held
	f.mu.Unlock()
	client := relayv1.NewRelayServiceClient(conn)
	stream, err := client.Follow(ctx, &relayv1.FollowRequest{Hello: f.hello(), Sources: []*relayv1.FollowedSource{
		{Source: f.source(), Paths: f.paths, Held: held},
	}})
	if err != nil {
		return 0, err
	}
	silence := time.AfterFunc(silences*15*time.Second, cancel)
	defer silence.Stop()
	for {
		message, err := stream.Recv()
		if err != nil {
			return 0, err
		}
		now := time.Now()
		silence.Reset(silences * 15 * time.Second)
		switch m := message.GetMessage().(type) {
		case *relayv1.FollowResponse_Welcome:
			f.following.Store(now.UnixNano())
		case *relayv1.FollowResponse_Announcement:
			if err := f.announced(ctx, client, m.Announcement, now); err != nil {
				return 0, err
			}
		case *relayv1.FollowResponse_SourceReady:
			f.crowd.readied()
		case *relayv1.FollowResponse_SourceProblem:
			f.crowd.failed(fault.New(fault.NotFound, "%s", m.SourceProblem.GetProblem().GetMessage()))
		case *relayv1.FollowResponse_Drain:
			return m.Drain.GetReconnectAfter().AsDuration(), f.drained(conn)
		}
	}
}

// announced fetches, and has the report say so. The fetch is in the way of the next message on purpose: the real one
// fetches beside, but never two of a source at a time.
func (f *fake) announced(ctx context.Context, client relayv1.RelayServiceClient, a *relayv1.Announcement, at time.Time) error {
	f.crowd.arrived(a, at)
	f.mu.Lock()
	held := f.held
	f.mu.Unlock()
	if f.crowd.fetch {
		if err := f.fetch(ctx, client, a, held); err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
	}
	f.mu.Lock()
	f.held, f.tell = a.GetRevision(), a
	f.mu.Unlock()
	select {
	case f.kick <- struct{}{}:
	default:
	}
	return nil
}

// fetch receives a transfer and throws it away.
func (f *fake) fetch(ctx context.Context, client relayv1.RelayServiceClient, a *relayv1.Announcement, held *revisionv1.Revision) error {
	stream, err := client.Fetch(ctx, &relayv1.FetchRequest{
		Hello: f.hello(), Source: f.source(), Want: a.GetRevision().GetCommit(), Held: held.GetCommit(), Paths: f.paths,
	})
	if err != nil {
		return err
	}
	for {
		_, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// status is the Sync's whole status.
func (f *fake) status(observed time.Time) *statusv1.Sync {
	f.mu.Lock()
	held := f.held
	f.mu.Unlock()
	now := timestamppb.New(observed)
	stage := &statusv1.Stage{Revision: held, Time: now}
	return &statusv1.Sync{
		Cluster: f.name, Namespace: "shop", Name: "shop", Uid: f.uid(), Source: f.source(), Path: f.paths[0], Include: f.paths[1:],
		State: statusv1.SyncState_SYNC_STATE_HEALTHY, Announced: stage, Received: stage, Verified: stage, Applied: stage, Healthy: stage,
		HealthySince: now, Objects: &statusv1.ObjectCounts{Total: 40, Current: 40}, Observed: now,
	}
}

func (f *fake) uid() string { return "uid-of-" + f.name }

// event acknowledges an announcement.
func (f *fake) event(a *relayv1.Announcement) *statusv1.Event {
	id := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%x\x00received", f.name, f.uid(), a.GetRevision().GetContentId()))
	return &statusv1.Event{
		Id: id[:], Time: timestamppb.Now(), State: statusv1.EventState_EVENT_STATE_RECEIVED, Cluster: f.name,
		SyncNamespace: "shop", SyncName: "shop", SyncUid: f.uid(), Source: f.source(), Revision: a.GetRevision(), Message: "Received.",
	}
}
