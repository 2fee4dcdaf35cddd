package relay

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

// defaultHeartbeat is used when the server names none; a stream that is silent for three times as long is dead.
const defaultHeartbeat = 15 * time.Second

// errOver ends a session in good order: what is followed changed, or the server asked for another connection.
var errOver = errors.New("session over")

// session is one Follow stream with its transfers.
type session struct {
	client  *Client
	conn    *grpc.ClientConn
	stream  grpc.ServerStreamingClient[relayv1.FollowResponse]
	fetcher *fetcher
	after   time.Duration
}

// session runs one Follow stream. It returns nil and how long to wait when the next one should be opened in good order.
func (c *Client) session(ctx context.Context) (time.Duration, error) {
	select {
	case <-c.reshape:
	default:
	}
	conn, err := c.link.Conn()
	if err != nil {
		return 0, err
	}
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &session{client: c, conn: conn}
	s.fetcher = newFetcher(c, relayv1.NewRelayServiceClient(conn), group)
	request, err := c.request(ctx)
	if err != nil {
		return 0, err
	}
	if s.stream, err = relayv1.NewRelayServiceClient(conn).Follow(ctx, request); err != nil {
		return 0, err
	}
	group.Go(func() error { return s.read(ctx, cancel) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-c.reshape:
			cancel(errOver)
			return errOver
		}
	})
	err = group.Wait()
	if errors.Is(err, errOver) {
		return s.after, nil
	}
	return 0, err
}

// request says what is followed and, where everything is held, as what.
func (c *Client) request(ctx context.Context) (*relayv1.FollowRequest, error) {
	request := &relayv1.FollowRequest{Hello: c.nextHello()}
	for _, sub := range c.subscriptions() {
		paths, err := sub.paths()
		if err != nil {
			return nil, err
		}
		held, err := c.held(ctx, sub, paths)
		if err != nil {
			return nil, err
		}
		request.Sources = append(request.Sources, &relayv1.FollowedSource{
			Source: revision.SourceToProto(sub.Source), Paths: paths, Held: revision.ToProto(held),
		})
	}
	return request, nil
}

// held returns the revision that every Sync of a source stands at, if all stand at the same one and its objects are
// there.
func (c *Client) held(ctx context.Context, sub Subscription, paths []string) (revision.Revision, error) {
	base := sub.Trees[0].Base
	for _, tree := range sub.Trees {
		if tree.Base != base || base.IsZero() {
			return revision.Revision{}, nil
		}
	}
	paths, err := revision.CleanPaths(paths)
	if err != nil {
		return revision.Revision{}, err
	}
	complete, err := c.store.Complete(ctx, base, paths)
	if err != nil || !complete {
		return revision.Revision{}, err
	}
	content, err := c.store.ContentID(ctx, base, paths)
	return revision.Revision{Commit: base, ContentID: content}, err
}

// read takes messages until the stream ends or stays silent for too long.
func (s *session) read(ctx context.Context, cancel context.CancelCauseFunc) error {
	silence := time.AfterFunc(3*defaultHeartbeat, func() {
		cancel(fault.New(fault.Stale, "the automator was silent for three heartbeats"))
	})
	defer silence.Stop()
	limit := 3 * defaultHeartbeat
	for {
		message, err := s.stream.Recv()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("follow: %w", err)
		}
		if heartbeat := message.GetWelcome().GetHeartbeat().AsDuration(); heartbeat > 0 {
			limit = 3 * heartbeat
		}
		silence.Reset(limit)
		s.client.metrics.last.WithLabelValues().SetToCurrentTime()
		if err := s.take(ctx, message); err != nil {
			return err
		}
	}
}

func (s *session) take(ctx context.Context, message *relayv1.FollowResponse) error {
	handler := s.client.handler
	switch m := message.GetMessage().(type) {
	case *relayv1.FollowResponse_Welcome:
		s.client.welcomed = true
		s.client.metrics.connected.WithLabelValues().Set(1)
		s.client.log.Info("connected", zap.String("automator", m.Welcome.GetVersion()))
	case *relayv1.FollowResponse_Announcement:
		return s.announced(ctx, m.Announcement)
	case *relayv1.FollowResponse_SourceReady:
		source, commit, err := sourceAndCommit(m.SourceReady.GetSource(), m.SourceReady.GetRevision())
		if err != nil {
			return err
		}
		handler.Denied(source, m.SourceReady.GetDeniedPaths())
		handler.Ready(source, commit)
	case *relayv1.FollowResponse_SourceProblem:
		source, err := revision.SourceFromProto(m.SourceProblem.GetSource())
		if err != nil {
			return err
		}
		handler.SourceProblem(source, fault.New(fault.NotFound, "%s", m.SourceProblem.GetProblem().GetMessage()))
	case *relayv1.FollowResponse_SyncNow:
		handler.SyncNow(m.SyncNow.GetNamespace(), m.SyncNow.GetName())
	case *relayv1.FollowResponse_QueriesWaiting:
		if s.client.cfg.QueriesWaiting != nil {
			s.client.cfg.QueriesWaiting()
		}
	case *relayv1.FollowResponse_Drain:
		s.client.log.Info("asked to connect anew", zap.String("reason", m.Drain.GetReason()))
		s.after = m.Drain.GetReconnectAfter().AsDuration()
		s.client.link.Renew(s.conn)
		return errOver
	}
	return nil
}

// traceOf returns the trace's id of a traceparent; empty for what is none.
func traceOf(traceparent string) string {
	parts := strings.Split(traceparent, "-")
	if len(parts) != 4 || len(parts[1]) != hex.EncodedLen(16) {
		return ""
	}
	if _, err := hex.DecodeString(parts[1]); err != nil {
		return ""
	}
	return parts[1]
}

func sourceAndCommit(p *revisionv1.Source, r *revisionv1.Revision) (revision.Source, gitobject.ID, error) {
	source, err := revision.SourceFromProto(p)
	if err != nil {
		return source, gitobject.ID{}, err
	}
	rev, err := revision.FromProto(r)
	return source, rev.Commit, err
}

func (s *session) announced(ctx context.Context, a *relayv1.Announcement) error {
	source, commit, err := sourceAndCommit(a.GetSource(), a.GetRevision())
	if err != nil {
		return err
	}
	if commit.IsZero() {
		return fault.New(fault.Invalid, "an announcement of %s names no commit", source)
	}
	tag, err := revision.ObjectFromProto(a.GetTag())
	if err != nil {
		return err
	}
	s.client.metrics.announcements.WithLabelValues().Inc()
	s.client.log.Info("announced", zap.String(telemetry.Repository, source.Repository), zap.Stringer(telemetry.Commit, commit),
		zap.String(telemetry.Trace, traceOf(a.GetTraceparent())))
	s.client.handler.Denied(source, a.GetDeniedPaths())
	s.client.handler.Announced(source, commit, a.GetTime().AsTime())
	s.fetcher.want(ctx, wanted{source: source, commit: commit, tag: tag, denied: a.GetDeniedPaths(), at: a.GetTime().AsTime()})
	return nil
}
