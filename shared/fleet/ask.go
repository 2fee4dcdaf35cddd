package fleet

import (
	"google.golang.org/grpc"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

// Ask has a cluster answer a question about one of its Syncs.
func (s *Service) Ask(req *statusv1.AskRequest, stream grpc.ServerStreamingServer[statusv1.AskResponse]) error {
	if s.Asker == nil {
		return s.UnimplementedStatusServiceServer.Ask(req, stream)
	}
	sync := req.GetSync()
	if err := s.check(stream.Context(), sync.GetCluster(), sync.GetNamespace()); err != nil {
		return err
	}
	if sync.GetCluster() == "" || sync.GetNamespace() == "" || sync.GetName() == "" {
		return fault.New(fault.Invalid, "name a Sync by cluster, namespace and name")
	}
	if req.GetQuestion() == nil {
		return fault.New(fault.Invalid, "nothing is asked that this version knows")
	}
	return s.Asker.Ask(stream.Context(), req, stream.Send)
}
