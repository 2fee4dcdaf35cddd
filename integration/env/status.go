package env

import (
	"context"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// eventPage is how many events are asked for at a time.
const eventPage = 500

// Status asks the automator, as User.
func (w *World) Status() (statusv1.StatusServiceClient, error) {
	conn, err := w.automatorConn()
	return statusv1.NewStatusServiceClient(conn), err
}

// Pipelines asks the automator, as User.
func (w *World) Pipelines() (pipelinev1.PipelineServiceClient, error) {
	conn, err := w.automatorConn()
	return pipelinev1.NewPipelineServiceClient(conn), err
}

// Enrollment administers the automator's identities, as User.
func (w *World) Enrollment() (enrollmentv1.EnrollmentAdminServiceClient, error) {
	conn, err := w.automatorConn()
	return enrollmentv1.NewEnrollmentAdminServiceClient(conn), err
}

func (w *World) automatorConn() (*grpc.ClientConn, error) {
	files, err := w.identity(rpc.RoleUser, User)
	if err != nil {
		return nil, err
	}
	return w.conn(w.addresses.grpc, files)
}

// Status asks the site's synchronizer, as an account that may look at the
// namespace.
func (s *Site) Status() (statusv1.StatusServiceClient, error) {
	token, err := os.ReadFile(s.world.file(s.Name, "token"))
	if err != nil {
		return nil, err
	}
	conn, err := s.world.conn(s.status, rpc.TLSFiles{CA: s.identity.CA}, grpc.WithPerRPCCredentials(bearer(token)))
	return statusv1.NewStatusServiceClient(conn), err
}

// conn is the world's connection to an address.
func (w *World) conn(address string, files rpc.TLSFiles, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	if conn := w.conns[address]; conn != nil {
		return conn, nil
	}
	tls, err := files.Client(loopback)
	if err != nil {
		return nil, err
	}
	// An agent that is killed and started again is waited for.
	more = append(more, grpc.WithDefaultCallOptions(grpc.WaitForReady(true)), grpc.WithConnectParams(redial()))
	conn, err := rpc.Dial(address, tls, more...)
	if err == nil {
		w.conns[address] = conn
	}
	return conn, err
}

// bearer is a token that goes with every call.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + strings.TrimSpace(string(b))}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (b bearer) RequireTransportSecurity() bool { return true }

// Events lists what the automator has stored, oldest first.
func (w *World) Events(ctx context.Context, filter *statusv1.EventFilter) ([]*statusv1.Event, error) {
	client, err := w.Status()
	if err != nil {
		return nil, err
	}
	var events []*statusv1.Event
	for token := ""; ; {
		page, err := client.ListEvents(ctx, &statusv1.ListEventsRequest{Filter: filter, PageSize: eventPage, PageToken: token})
		if err != nil {
			return nil, fmt.Errorf("list events: %w", err)
		}
		events = append(events, page.GetEvents()...)
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	for i, j := 0, len(events)-1; i < j; i, j = i+1, j-1 {
		events[i], events[j] = events[j], events[i]
	}
	return events, nil
}
