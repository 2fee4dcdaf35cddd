package traces

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

// happening is a log in which events happen that nobody else stored.
type happening []*statusv1.Event

func (h happening) ListEvents(context.Context, *statusv1.EventFilter, int, string) ([]*statusv1.Event, string, error) {
	return nil, "", nil
}

func (h happening) WatchEvents(_ context.Context, _ *statusv1.EventFilter, fn func(*statusv1.Event) error) error {
	for _, event := range h {
		if err := fn(event); err != nil {
			return err
		}
	}
	return context.Canceled
}

// collector takes spans, or refuses them.
type collector struct {
	coltracepb.UnimplementedTraceServiceServer

	err   error
	spans int
}

func (c *collector) Export(_ context.Context, request *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	if c.err != nil {
		return nil, c.err
	}
	c.spans += len(request.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans())
	return &coltracepb.ExportTraceServiceResponse{}, nil
}

// What is refused is counted, and holds nothing up; what is old is passed over.
func TestSender(t *testing.T) {
	t.Parallel()
	fresh := func(state string) *statusv1.Event {
		event := at(t, state, 0)
		event.Time = timestamppb.Now()
		return event
	}
	old := fresh("HEALTHY")
	old.Time = timestamppb.New(time.Now().Add(-time.Hour))
	log := happening{fresh("DETECTED"), fresh("COMMITTED"), fresh("ANNOUNCED"), fresh("HEALTHY"), old}
	cases := map[string]struct {
		refusal    error
		sent, lost float64
	}{
		"Taken":   {nil, 2, 0},
		"Refused": {status.Error(codes.PermissionDenied, "no"), 0, 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server, taken := grpc.NewServer(), &collector{err: tc.refusal}
			coltracepb.RegisterTraceServiceServer(server, taken)
			served := make(chan error, 1)
			go func() { served <- server.Serve(listener) }()
			logger, _ := logtest.New(t)
			s := New(Config{Endpoint: "http://" + listener.Addr().String()}, log, "test", logger, prometheus.NewRegistry())
			if err := s.Run(t.Context()); !errors.Is(err, context.Canceled) {
				t.Errorf("Run(...): %v", err)
			}
			server.Stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
			sent, lost := testutil.ToFloat64(s.sent.WithLabelValues()), testutil.ToFloat64(s.lost.WithLabelValues())
			if sent != tc.sent || lost != tc.lost || float64(taken.spans) != tc.sent {
				t.Errorf("sent %v, lost %v, taken %d, want %v and %v", sent, lost, taken.spans, tc.sent, tc.lost)
			}
		})
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	for endpoint, ok := range map[string]bool{
		"": true, "http://collector:4317": true, "https://collector.example.com": true,
		"collector:4317": false, "grpc://collector:4317": false, "http://": false, "://": false,
	} {
		if err := (Config{Endpoint: endpoint}).Validate(); (err == nil) != ok || err != nil && !strings.HasPrefix(err.Error(), "traces.endpoint") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}
