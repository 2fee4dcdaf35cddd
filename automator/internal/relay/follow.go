package relay

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/shard"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

const (
	// maxSources bounds what one stream follows.
	maxSources = 1000
	// lookAgain is when a source that could not be served is looked at again without being woken.
	lookAgain = 5 * time.Second
	// drainSpread is how far apart the clusters of a closing automator are asked to come back.
	drainSpread = 5 * time.Second
)

// followed is one source of a stream.
type followed struct {
	source  revision.Source
	paths   []string
	denied  []string     // those of paths that were outside the grant when last looked at
	tip     gitobject.ID // the ref's commit when last looked at
	content revision.ContentID
	told    bool   // whether the client knows that the source is served
	problem string // the problem that it was told last
}

// follower is one Follow stream.
type follower struct {
	server  *Server
	cluster string
	of      shard.Shard
	seat    *seat
	sources []*followed
	send    func(*relayv1.FollowResponse) error
	beat    time.Time // when the next sign of life is due
	old     time.Time // when the stream is to end
}

// Follow announces the newest content of each source.
func (s *Server) Follow(req *relayv1.FollowRequest, stream grpc.ServerStreamingServer[relayv1.FollowResponse]) error {
	hello := req.GetHello()
	if err := admit(stream.Context(), hello); err != nil {
		return err
	}
	of, err := shardOf(hello)
	if err != nil {
		return err
	}
	sources, err := parseSources(req.GetSources())
	if err != nil {
		return err
	}
	seat := s.hub.join(serves(hello))
	defer s.recorder.look() // who waits for the last follower
	defer s.hub.leave(seat)
	ctx, finish, err := s.follows.start(stream.Context(), hello, of, seat)
	if err != nil {
		return err
	}
	defer finish()
	s.deps.Log.Info("cluster connected", append(named(hello), zap.Int("sources", len(sources)))...)
	f := &follower{server: s, cluster: hello.GetCluster(), of: of, seat: seat, sources: sources, send: stream.Send}
	err = f.run(ctx)
	s.deps.Log.Info("cluster disconnected", append(named(hello), zap.Error(err))...)
	return err
}

// named are the fields that name a stream in the log. A logger that has them would be kept for as long as the stream lives.
func named(hello *relayv1.Hello) []zap.Field {
	return []zap.Field{zap.String(telemetry.Cluster, hello.GetCluster()), zap.String("replica", hello.GetReplica())}
}

func parseSources(in []*relayv1.FollowedSource) ([]*followed, error) {
	if len(in) > maxSources {
		return nil, fault.New(fault.Invalid, "%d sources are more than %d", len(in), maxSources)
	}
	seen := map[revision.Source]bool{}
	sources := make([]*followed, 0, len(in))
	for _, p := range in {
		source, err := revision.SourceFromProto(p.GetSource())
		if err != nil {
			return nil, err
		}
		if seen[source] {
			return nil, fault.New(fault.Invalid, "source %s is named twice", source)
		}
		seen[source] = true
		paths, err := revision.SortedPaths(p.GetPaths())
		if err != nil {
			return nil, err
		}
		if !slices.Equal(paths, p.GetPaths()) {
			return nil, fault.New(fault.Invalid, "paths of %s are not in canonical form", source)
		}
		held, err := revision.FromProto(p.GetHeld())
		if err != nil {
			return nil, err
		}
		sources = append(sources, &followed{source: source, paths: paths, content: held.ContentID})
	}
	return sources, nil
}

func (f *follower) run(ctx context.Context) error {
	if err := f.send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_Welcome{Welcome: f.server.welcome()}}); err != nil {
		return err
	}
	f.old, f.beat = time.Now().Add(spread(f.server.cfg.MaxAge)), time.Now().Add(f.server.cfg.Heartbeat)
	timer := time.NewTimer(f.server.cfg.Heartbeat)
	defer timer.Stop()
	if f.seat.serves && f.server.questions.waiting(addressee{f.cluster, f.of}) {
		f.server.hub.call(f.seat)
	}
	for {
		if err := f.look(ctx); err != nil {
			return err
		}
		f.server.hub.looked(f.seat)
		timer.Reset(f.rest())
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.server.closing:
			return f.drain(rand.N(drainSpread), "the automator is restarting")
		case <-timer.C:
			if !time.Now().Before(f.old) {
				return f.drain(0, "the connection is old")
			}
			if err := f.alive(); err != nil {
				return err
			}
		case <-f.seat.wake:
			if err := f.ask(); err != nil {
				return err
			}
		}
	}
}

// ask tells the client that questions wait, when it is called.
func (f *follower) ask() error {
	if !f.server.hub.isCalled(f.seat) {
		return nil
	}
	return f.send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_QueriesWaiting{QueriesWaiting: &relayv1.QueriesWaiting{}}})
}

// rest is how long there is nothing to do unless something changes.
func (f *follower) rest() time.Duration {
	rest := min(time.Until(f.beat), time.Until(f.old))
	if slices.ContainsFunc(f.sources, func(s *followed) bool { return s.problem != "" }) {
		rest = min(rest, lookAgain)
	}
	return rest
}

// alive sends a sign of life when it is time for one.
func (f *follower) alive() error {
	now := time.Now()
	if now.Before(f.beat) {
		return nil
	}
	f.beat = now.Add(f.server.cfg.Heartbeat)
	return f.send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_Heartbeat{Heartbeat: beat()}})
}

// spread returns age ± 20 %, so that connections made together do not end together.
func spread(age time.Duration) time.Duration {
	return age - age/5 + rand.N(2*age/5+1)
}

func (s *Server) welcome() *relayv1.Welcome {
	return &relayv1.Welcome{Protocol: Protocol, Heartbeat: durationpb.New(s.cfg.Heartbeat), Version: s.cfg.Version, Capabilities: []string{canShard}}
}

func beat() *relayv1.Heartbeat { return &relayv1.Heartbeat{Time: timestamppb.Now()} }

func (f *follower) drain(after time.Duration, reason string) error {
	f.server.metrics.drains.WithLabelValues().Inc()
	return f.send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_Drain{
		Drain: &relayv1.Drain{ReconnectAfter: durationpb.New(after), Reason: reason},
	}})
}

// look announces every source whose content is not what the client was told last.
func (f *follower) look(ctx context.Context) error {
	grants := f.server.deps.Grants(f.cluster)
	for _, source := range f.sources {
		if err := f.one(ctx, grants, source); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) one(ctx context.Context, grants Grants, at *followed) error {
	commit, tag, content, err := f.newest(ctx, grants, at)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return f.tellProblem(at, err)
	case content != at.content:
		return f.announce(at, revision.Revision{Commit: commit, ContentID: content}, tag)
	case !at.told:
		at.told, at.problem, at.tip = true, "", commit
		return f.send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_SourceReady{SourceReady: &relayv1.SourceReady{
			Source: revision.SourceToProto(at.source), Revision: revision.ToProto(revision.Revision{Commit: commit, ContentID: content}),
			DeniedPaths: at.denied,
		}}})
	default:
		at.tip = commit
		return nil
	}
}

// newest returns what a source's ref names now and what it means for the followed paths.
func (f *follower) newest(ctx context.Context, grants Grants, at *followed) (commit, tag gitobject.ID, content revision.ContentID, err error) {
	allowed, denied, err := split(grants, f.cluster, at.source, at.paths)
	if err != nil {
		return commit, tag, content, err
	}
	if !slices.Equal(denied, at.denied) {
		at.denied, at.told = denied, false
	}
	repo, ok := f.server.deps.Repository(at.source.Repository)
	if !ok {
		return commit, tag, content, fault.New(fault.NotFound, "the automator has no repository %q", at.source.Repository)
	}
	commit, tag, ok = repo.Resolve(ctx, at.source.Ref)
	if !ok {
		return commit, tag, content, fault.New(fault.NotFound, "repository %q has no ref %q", at.source.Repository, at.source.Ref)
	}
	if at.told && commit == at.tip {
		return commit, tag, at.content, nil
	}
	if allowed, err = revision.CleanPaths(allowed); err != nil {
		return commit, tag, content, err
	}
	content, err = f.server.contents.at(ctx, repo, commit, allowed)
	return commit, tag, content, err
}

func (f *follower) announce(at *followed, rev revision.Revision, tag gitobject.ID) error {
	recorded := f.server.unrecorded.begin(f.cluster)
	now := timestamppb.Now()
	err := f.send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_Announcement{Announcement: &relayv1.Announcement{
		Source: revision.SourceToProto(at.source), Revision: revision.ToProto(rev), Tag: revision.ObjectToProto(tag), Time: now,
		DeniedPaths: at.denied, Traceparent: f.server.deps.Traceparent(rev.Commit.String()),
	}}})
	if err != nil {
		recorded()
		return err
	}
	f.server.metrics.announcements.WithLabelValues().Inc()
	at.tip, at.content, at.told, at.problem = rev.Commit, rev.ContentID, true, ""
	f.server.recorder.add(&statusv1.Event{
		Id: announcedID(f.cluster, at.source, rev.ContentID), Time: now, State: statusv1.EventState_EVENT_STATE_ANNOUNCED,
		Cluster: f.cluster, Source: revision.SourceToProto(at.source), Revision: revision.ToProto(rev),
		Message: fmt.Sprintf("Announced %.12s of %s to %s.", rev.Commit, at.source, f.cluster),
	}, recorded)
	return nil
}

// announcedID keys an announcement: announcing the same content again, after a reconnect, is no new event.
func announcedID(cluster string, source revision.Source, content revision.ContentID) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "announced\x00%s\x00%s\x00%s", cluster, source, content))
	return sum[:]
}

// tellProblem says once why a source cannot be served.
func (f *follower) tellProblem(at *followed, cause error) error {
	at.told, at.tip = false, gitobject.ID{}
	if at.problem == cause.Error() {
		return nil
	}
	at.problem = cause.Error()
	f.server.metrics.problems.WithLabelValues().Inc()
	f.server.deps.Log.Warn("source not served", zap.String(telemetry.Cluster, f.cluster),
		zap.String(telemetry.Repository, at.source.Repository), zap.String(telemetry.Ref, at.source.Ref), zap.Error(cause))
	return f.send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_SourceProblem{SourceProblem: &relayv1.SourceProblem{
		Source:  revision.SourceToProto(at.source),
		Problem: &statusv1.Problem{Kind: statusv1.ProblemKind_PROBLEM_KIND_SOURCE, Message: cause.Error()},
	}}})
}
