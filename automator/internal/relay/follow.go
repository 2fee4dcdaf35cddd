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
	"github.com/tandem-cd/tandem/shared/telemetry"
)

const (
	// maxSources bounds what one stream follows.
	maxSources = 1000
	// lookAgain is when a source that could not be served is looked at again without being woken.
	lookAgain = 5 * time.Second
	// maxUntold bounds the announcements of a stream that wait for a store that takes none, such as one whose disk is full.
	maxUntold = 100
	// recordTimeout bounds the record of an announcement.
	recordTimeout = 5 * time.Second
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
	sources []*followed
	send    func(*relayv1.FollowResponse) error
	untold  []*statusv1.Event // made, and not taken by the store yet
}

// Follow announces the newest content of each source.
func (s *Server) Follow(req *relayv1.FollowRequest, stream grpc.ServerStreamingServer[relayv1.FollowResponse]) error {
	hello := req.GetHello()
	if err := admit(stream.Context(), hello); err != nil {
		return err
	}
	sources, err := parseSources(req.GetSources())
	if err != nil {
		return err
	}
	ctx, finish, err := s.follows.start(stream.Context(), hello)
	if err != nil {
		return err
	}
	defer finish()
	log := s.deps.Log.With(zap.String(telemetry.Cluster, hello.GetCluster()), zap.String("replica", hello.GetReplica()))
	log.Info("cluster connected", zap.Int("sources", len(sources)))
	f := &follower{server: s, cluster: hello.GetCluster(), sources: sources, send: stream.Send}
	err = f.run(ctx)
	log.Info("cluster disconnected", zap.Error(err))
	return err
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
	wake := f.server.hub.join()
	defer f.server.hub.leave(wake)
	if err := f.send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_Welcome{Welcome: f.server.welcome()}}); err != nil {
		return err
	}
	heartbeat := time.NewTicker(f.server.cfg.Heartbeat)
	defer heartbeat.Stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	age := time.NewTimer(spread(f.server.cfg.MaxAge))
	defer age.Stop()
	for {
		if err := f.look(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.server.closing:
			return f.drain(rand.N(drainSpread), "the automator is restarting")
		case <-age.C:
			return f.drain(0, "the connection is old")
		case <-heartbeat.C:
			if err := f.send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_Heartbeat{Heartbeat: beat()}}); err != nil {
				return err
			}
		case <-again.C:
		case <-wake:
		}
	}
}

// spread returns age ± 20 %, so that connections made together do not end together.
func spread(age time.Duration) time.Duration {
	return age - age/5 + rand.N(2*age/5+1)
}

func (s *Server) welcome() *relayv1.Welcome {
	return &relayv1.Welcome{Protocol: Protocol, Heartbeat: durationpb.New(s.cfg.Heartbeat), Version: s.cfg.Version}
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
	f.record(ctx)
	grants := f.server.deps.Grants(f.cluster)
	for _, source := range f.sources {
		if err := f.one(ctx, grants, source); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) one(ctx context.Context, grants []Grant, at *followed) error {
	commit, tag, content, err := f.newest(ctx, grants, at)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return f.tellProblem(at, err)
	case content != at.content:
		return f.announce(ctx, at, revision.Revision{Commit: commit, ContentID: content}, tag)
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
func (f *follower) newest(ctx context.Context, grants []Grant, at *followed) (commit, tag gitobject.ID, content revision.ContentID, err error) {
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

func (f *follower) announce(ctx context.Context, at *followed, rev revision.Revision, tag gitobject.ID) error {
	defer f.server.unrecorded.begin(f.cluster)()
	now := timestamppb.Now()
	err := f.send(&relayv1.FollowResponse{Message: &relayv1.FollowResponse_Announcement{Announcement: &relayv1.Announcement{
		Source: revision.SourceToProto(at.source), Revision: revision.ToProto(rev), Tag: revision.ObjectToProto(tag), Time: now,
		DeniedPaths: at.denied,
	}}})
	if err != nil {
		return err
	}
	f.server.metrics.announcements.WithLabelValues().Inc()
	at.tip, at.content, at.told, at.problem = rev.Commit, rev.ContentID, true, ""
	f.untold = append(f.untold, &statusv1.Event{
		Id: announcedID(f.cluster, at.source, rev.ContentID), Time: now, State: statusv1.EventState_EVENT_STATE_ANNOUNCED,
		Cluster: f.cluster, Source: revision.SourceToProto(at.source), Revision: revision.ToProto(rev),
		Message: fmt.Sprintf("Announced %.12s of %s to %s.", rev.Commit, at.source, f.cluster),
	})
	f.record(ctx)
	return nil
}

// record stores the announcements that were made. While the store takes none they wait for the next look; no announcement
// waits for its record, but what is announced is fetched after it, see unrecorded.
func (f *follower) record(ctx context.Context) {
	if len(f.untold) == 0 {
		return
	}
	f.untold = f.untold[max(0, len(f.untold)-maxUntold):]
	// The stream may have ended meanwhile; the announcement was made nevertheless.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := f.server.events.append(ctx, f.untold); err != nil {
		f.server.deps.Log.Error("announcement not recorded", zap.Error(err), zap.String(telemetry.Cluster, f.cluster))
		return
	}
	f.untold = nil
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
