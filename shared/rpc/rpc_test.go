package rpc_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server over real TLS on loopback and returns a client for who.
func serve(t *testing.T, authorize func(context.Context, rpc.Identity, string) error, who rpc.Identity) *grpc.ClientConn {
	t.Helper()
	return serveMore(t, authorize, who, func(*grpc.Server) {})
}

// serveMore is serve with further services.
func serveMore(t *testing.T, authorize func(context.Context, rpc.Identity, string) error, who rpc.Identity, register func(*grpc.Server)) *grpc.ClientConn {
	t.Helper()
	ca, err := rpctest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	serverFiles, err := ca.Server("server")
	if err != nil {
		t.Fatal(err)
	}
	serverTLS, err := serverFiles.Server()
	if err != nil {
		t.Fatal(err)
	}
	log, _ := logtest.New(t)
	server := rpc.NewServer(rpc.ServerConfig{TLS: serverTLS, Identify: rpc.FromCertificate, Authorize: authorize, Log: log, Version: "1.2.3"})
	register(server.GRPC)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	t.Cleanup(func() { cancel(); <-done })

	clientFiles, err := ca.Client(who)
	if err != nil {
		t.Fatal(err)
	}
	clientTLS, err := clientFiles.Client("localhost")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial(listener.Addr().String(), clientTLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestEveryKindCrossesTheWire(t *testing.T) {
	t.Parallel()
	kinds := []fault.Kind{fault.Internal, fault.Invalid, fault.NotFound, fault.Conflict, fault.Unauthorized, fault.Stale}
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			conn := serve(t, func(context.Context, rpc.Identity, string) error {
				return fault.New(kind, "because of %q", "x")
			}, rpc.Identity{Role: rpc.RoleCluster, Name: "dev"})
			_, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
			if !fault.Is(err, kind) || err.Error() != `because of "x"` {
				t.Errorf("unary: got %v (%v)", err, fault.KindOf(err))
			}
			stream, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err = stream.Recv(); !fault.Is(err, kind) {
				t.Errorf("stream: got %v (%v)", err, fault.KindOf(err))
			}
		})
	}
}

func TestCallerIsWhatTheCertificateSays(t *testing.T) {
	t.Parallel()
	want := rpc.Identity{Role: rpc.RoleUser, Name: "ann"}
	seen := make(chan rpc.Identity, 1)
	conn := serve(t, func(_ context.Context, id rpc.Identity, _ string) error { seen <- id; return nil }, want)
	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got.String() != want.String() {
		t.Errorf("identity: got %v, want %v", got, want)
	}
}

func TestAPanicIsAnInternalFault(t *testing.T) {
	t.Parallel()
	conn := serve(t, func(context.Context, rpc.Identity, string) error { panic("secret detail") }, rpc.Identity{Role: rpc.RoleUser, Name: "ann"})
	_, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if !fault.Is(err, fault.Internal) || strings.Contains(err.Error(), "secret detail") {
		t.Errorf("Check(...): got %v", err)
	}
}

// hangsUp is a health service whose watch hangs up.
type hangsUp struct {
	healthv1.UnimplementedHealthServer
}

func (hangsUp) Watch(_ *healthv1.HealthCheckRequest, stream grpc.ServerStreamingServer[healthv1.HealthCheckResponse]) error {
	rpc.Hangup(stream.Context())
	<-stream.Context().Done()
	return nil
}

func TestAHandlerCanHangUp(t *testing.T) {
	t.Parallel()
	desc := healthv1.Health_ServiceDesc
	desc.ServiceName = "deaf"
	conn := serveMore(t, nil, rpc.Identity{Role: rpc.RoleCluster, Name: "dev"}, func(s *grpc.Server) { s.RegisterService(&desc, hangsUp{}) })
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/deaf/Watch")
	if err == nil {
		err = stream.SendMsg(&healthv1.HealthCheckRequest{})
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&healthv1.HealthCheckResponse{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("after the server hung up: got %v, want Unavailable", err)
	}
}

// TestFacts holds that refusals say the server's clock too.
func TestFacts(t *testing.T) {
	t.Parallel()
	conn := serve(t, func(context.Context, rpc.Identity, string) error {
		return fault.New(fault.Unauthorized, "no")
	}, rpc.Identity{Role: rpc.RoleCluster, Name: "dev"})
	var header metadata.MD
	_, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}, grpc.Header(&header))
	facts := rpc.FactsOf(header)
	if !fault.Is(err, fault.Unauthorized) || time.Since(facts.Time).Abs() > time.Hour || facts.Version != "1.2.3" {
		t.Errorf("Check: %v with %+v", err, facts)
	}
	if facts := rpc.FactsOf(metadata.Pairs("tandem-time", "noon")); !facts.Time.IsZero() || facts.Version != "" {
		t.Errorf("FactsOf(nonsense): %+v", facts)
	}
}
