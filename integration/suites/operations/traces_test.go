package operations_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/tandem-cd/tandem/integration/env"
)

// collector takes traces as OpenTelemetry's does, and keeps them.
type collector struct {
	coltracepb.UnimplementedTraceServiceServer

	address string
	spans   chan *tracepb.Span
}

func (c *collector) Export(_ context.Context, request *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans <- span
			}
		}
	}
	return &coltracepb.ExportTraceServiceResponse{}, nil
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{address: listener.Addr().String(), spans: make(chan *tracepb.Span, 1000)}
	server := grpc.NewServer()
	coltracepb.RegisterTraceServiceServer(server, c)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

// One trace holds what both agents did for a release.
func TestTraces(t *testing.T) {
	collector := startCollector(t)
	world := newWorld(t, env.Options{Name: "traces", Traces: "http://" + collector.address})
	if err := world.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	sync := release(t, world, "1.1.0")
	want := []string{"release", "deploy", "receive", "verify", "apply", "roll out"}
	commit := fmt.Sprintf("%x", sync.GetHealthy().GetRevision().GetCommit().GetValue())
	found := map[string]*tracepb.Span{}
	ctx, cancel := context.WithTimeout(t.Context(), env.WaitTimeout)
	defer cancel()
	for len(found) < len(want) {
		select {
		case span := <-collector.spans:
			if attribute(span, "vcs.ref.head.revision") == commit || found["release"] != nil && string(span.GetTraceId()) == string(found["release"].GetTraceId()) {
				found[span.GetName()] = span
			}
		case <-ctx.Done():
			t.Fatalf("spans of commit %s: got %v, want %v", commit, found, want)
		}
	}
	root, deploy := found["release"], found["deploy"]
	for _, name := range want[2:] {
		if span := found[name]; span == nil || string(span.GetParentSpanId()) != string(deploy.GetSpanId()) {
			t.Errorf("%s is no part of the deployment: %v", name, span)
		}
	}
	if string(deploy.GetParentSpanId()) != string(root.GetSpanId()) || len(root.GetParentSpanId()) > 0 {
		t.Errorf("the deployment is no part of the release: %v, %v", deploy, root)
	}
	if began, ended := root.GetStartTimeUnixNano(), deploy.GetEndTimeUnixNano(); began >= ended || time.Duration(ended-began) > env.WaitTimeout {
		t.Errorf("the release took %s", time.Duration(ended-began))
	}
}

func attribute(span *tracepb.Span, key string) string {
	for _, a := range span.GetAttributes() {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}
