package synchronizer

import (
	"context"
	"fmt"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/synchronizer/internal/access"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
)

// openStatus prepares the listener for status queries, if there is to be one.
func (s *Synchronizer) openStatus(config *rest.Config) error {
	s.fleet.PutCluster(&statusv1.Cluster{Name: s.cfg.Cluster, Connected: true, Version: Version})
	if s.cfg.Status.Listen == "" {
		return nil
	}
	files := s.cfg.Status.TLS
	files.CA = "" // callers show tokens, not certificates
	tls, err := files.Server()
	if err != nil {
		return fmt.Errorf("status.tls: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	checker := access.New(client)
	s.status = rpc.NewServer(rpc.ServerConfig{TLS: tls, Identify: checker.Identify, Log: s.log, Version: Version, Metrics: rpc.NewMetrics(prometheus.WrapRegistererWithPrefix("tandem_synchronizer_", s.metrics))})
	statusv1.RegisterStatusServiceServer(s.status.GRPC, &fleet.Service{
		State: s.fleet, Events: s.recent, Contents: held{s.store}, Asker: asker{cluster: s.cfg.Cluster, answers: s.answers, ready: s.looks, contents: checker.SeeContents},
		Access: func(ctx context.Context, _, namespace string) error { return checker.See(ctx, namespace) },
	})
	return nil
}

// serveStatus answers status queries until the context is done.
func (s *Synchronizer) serveStatus(ctx context.Context) error {
	if s.status == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Status.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return s.status.Serve(ctx, listener)
}

// held answers what commits hold from the objects that this cluster has.
type held struct{ store *objects.Store }

// ResolveCommit accepts full ids only: a cluster does not know which commits there are besides its own.
func (h held) ResolveCommit(_ context.Context, _, id string) (gitobject.ID, error) {
	commit, err := gitobject.ParseID(id)
	if err != nil {
		return commit, fault.New(fault.Invalid, "the synchronizer resolves no abbreviations; give the full commit, or ask the automator")
	}
	if !h.store.Has(commit) {
		return gitobject.ID{}, fault.New(fault.NotFound, "this cluster does not hold commit %s", commit)
	}
	return commit, nil
}

// ContentAt returns the content id of paths at a commit.
func (h held) ContentAt(ctx context.Context, _ string, commit gitobject.ID, paths []string) (revision.ContentID, error) {
	return h.store.ContentID(ctx, commit, paths)
}
