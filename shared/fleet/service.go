package fleet

import (
	"context"

	"google.golang.org/grpc"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// Events is where lifecycle events are kept.
type Events interface {
	// ListEvents returns a page of events, newest first, and the token of the next page.
	ListEvents(ctx context.Context, filter *statusv1.EventFilter, size int, token string) ([]*statusv1.Event, string, error)
	// WatchEvents calls fn for each event from filter.since or from now on, oldest first, until the context is done.
	WatchEvents(ctx context.Context, filter *statusv1.EventFilter, fn func(*statusv1.Event) error) error
}

// Contents knows what commits hold.
type Contents interface {
	// ResolveCommit finds the commit that an abbreviation of at least 7 digits means; NotFound when there is none or
	// more than one.
	ResolveCommit(ctx context.Context, repository, prefix string) (gitobject.ID, error)
	// ContentAt returns the content id of paths at a commit; NotFound when the commit is not there.
	ContentAt(ctx context.Context, repository string, commit gitobject.ID, paths []string) (revision.ContentID, error)
}

// Asker has clusters answer questions about their Syncs.
type Asker interface {
	// Ask calls each with every part of the answer as it comes. The caller in ctx may see the Sync, if there is one.
	Ask(ctx context.Context, req *statusv1.AskRequest, each func(*statusv1.AskResponse) error) error
}

// Access says whether the caller in ctx may see Syncs of a namespace of a cluster ("" asks for all namespaces).
type Access func(ctx context.Context, cluster, namespace string) error

// Service answers StatusService.
type Service struct {
	statusv1.UnimplementedStatusServiceServer
	// State is what is known.
	State *State
	// Events are the lifecycle events.
	Events Events
	// Contents resolves commits for WhereIs.
	Contents Contents
	// Asker answers what only a cluster knows; nil when there is nobody to ask.
	Asker Asker
	// Access guards namespaces; nil lets every caller see everything.
	Access Access
}

func (s *Service) check(ctx context.Context, cluster, namespace string) error {
	if s.Access == nil {
		return nil
	}
	return s.Access(ctx, cluster, namespace)
}

// ListClusters returns a page of clusters. Whoever may ask at all may know them: they say nothing about any namespace.
func (s *Service) ListClusters(_ context.Context, req *statusv1.ListClustersRequest) (*statusv1.ListClustersResponse, error) {
	size, err := PageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	page, next, err := Page(s.State.Clusters(), (*statusv1.Cluster).GetName, size, req.GetPageToken())
	return &statusv1.ListClustersResponse{Clusters: page, NextPageToken: next}, err
}

// ListSyncs returns a page of Syncs.
func (s *Service) ListSyncs(ctx context.Context, req *statusv1.ListSyncsRequest) (*statusv1.ListSyncsResponse, error) {
	if err := s.check(ctx, req.GetFilter().GetCluster(), req.GetFilter().GetNamespace()); err != nil {
		return nil, err
	}
	size, err := PageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	page, next, err := Page(s.State.Syncs(req.GetFilter()), sortName, size, req.GetPageToken())
	return &statusv1.ListSyncsResponse{Syncs: page, NextPageToken: next}, err
}

// sortName orders Syncs as Key.compare does.
func sortName(status *statusv1.Sync) string {
	return status.GetCluster() + "\x00" + status.GetNamespace() + "\x00" + status.GetName()
}

// WatchSyncs streams Syncs and their changes.
func (s *Service) WatchSyncs(req *statusv1.WatchSyncsRequest, stream grpc.ServerStreamingServer[statusv1.WatchSyncsResponse]) error {
	filter := req.GetFilter()
	if err := s.check(stream.Context(), filter.GetCluster(), filter.GetNamespace()); err != nil {
		return err
	}
	view := &syncView{filter: filter, shown: map[Key]bool{}, send: stream.Send}
	return s.State.Watch(stream.Context(), view.update)
}

// syncView turns changes of the whole state into those that one watcher asked for: a Sync that no longer matches is
// removed from the view.
type syncView struct {
	filter *statusv1.SyncFilter
	shown  map[Key]bool
	synced bool
	send   func(*statusv1.WatchSyncsResponse) error
}

func (v *syncView) update(changes []Change) error {
	for _, change := range changes {
		if err := v.one(change); err != nil {
			return err
		}
	}
	if v.synced {
		return nil
	}
	v.synced = true
	return v.send(&statusv1.WatchSyncsResponse{Change: &statusv1.WatchSyncsResponse_Synced{Synced: &statusv1.Synced{}}})
}

func (v *syncView) one(change Change) error {
	if change.Sync != nil && matches(v.filter, change.Key, change.Sync) {
		v.shown[change.Key] = true
		return v.send(&statusv1.WatchSyncsResponse{Change: &statusv1.WatchSyncsResponse_Sync{Sync: change.Sync}})
	}
	if !v.shown[change.Key] {
		return nil
	}
	delete(v.shown, change.Key)
	return v.send(&statusv1.WatchSyncsResponse{Change: &statusv1.WatchSyncsResponse_Removed{Removed: change.Key.proto()}})
}

func (k Key) proto() *statusv1.SyncKey {
	return &statusv1.SyncKey{Cluster: k.Cluster, Namespace: k.Namespace, Name: k.Name}
}

// ListEvents returns a page of events.
func (s *Service) ListEvents(ctx context.Context, req *statusv1.ListEventsRequest) (*statusv1.ListEventsResponse, error) {
	if err := s.check(ctx, req.GetFilter().GetCluster(), req.GetFilter().GetSyncNamespace()); err != nil {
		return nil, err
	}
	size, err := PageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	events, next, err := s.Events.ListEvents(ctx, req.GetFilter(), size, req.GetPageToken())
	return &statusv1.ListEventsResponse{Events: events, NextPageToken: next}, err
}

// WatchEvents streams events.
func (s *Service) WatchEvents(req *statusv1.WatchEventsRequest, stream grpc.ServerStreamingServer[statusv1.WatchEventsResponse]) error {
	if err := s.check(stream.Context(), req.GetFilter().GetCluster(), req.GetFilter().GetSyncNamespace()); err != nil {
		return err
	}
	return s.Events.WatchEvents(stream.Context(), req.GetFilter(), func(event *statusv1.Event) error {
		return stream.Send(&statusv1.WatchEventsResponse{Event: event})
	})
}
