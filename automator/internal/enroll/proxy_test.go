package enroll_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// proxied connects through a proxy that ends TLS and speaks none to the automator.
func (w *world) proxied(options ...grpc.DialOption) *grpc.ClientConn {
	w.t.Helper()
	unencrypted := new(http.Protocols)
	unencrypted.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: unencrypted}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: w.plain})
	proxy.Transport, proxy.FlushInterval = transport, -1
	front := httptest.NewUnstartedServer(proxy)
	front.EnableHTTP2 = true
	front.StartTLS()
	w.t.Cleanup(func() { front.CloseClientConnections(); front.Close(); transport.CloseIdleConnections() })
	pool := x509.NewCertPool()
	pool.AddCert(front.Certificate())
	roots := func([]*x509.Certificate) (*x509.CertPool, error) { return pool, nil }
	conn, err := rpc.Dial(front.Listener.Addr().String(), rpc.ClientTLS("example.com", roots, nil), options...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

func TestPassesBehindAProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.member()
	if err := m.enroll(w.token(false)); err != nil {
		t.Fatal(err)
	}
	sign := func() (*ecdsa.PrivateKey, *x509.Certificate) { return m.key, m.cert }
	conn := w.proxied(grpc.WithPerRPCCredentials(rpc.Passes{Audience: proxyName, Sign: sign}))
	stream, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatalf("a stream with a pass: %v", err)
	}
	for range 3 { // every call makes its own pass
		if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
			t.Errorf("a call with a pass: %v", err)
		}
	}
	if err := m.renew(conn); err != nil {
		t.Errorf("a renewal through the proxy: %v", err)
	}
	elsewhere := w.proxied(grpc.WithPerRPCCredentials(rpc.Passes{Audience: "other.example.com", Sign: sign}))
	if _, err := healthv1.NewHealthClient(elsewhere).Check(t.Context(), &healthv1.HealthCheckRequest{}); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("a pass for another automator: got %v", err)
	}
	if _, err := healthv1.NewHealthClient(w.proxied()).Check(t.Context(), &healthv1.HealthCheckRequest{}); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("no pass: got %v", err)
	}
	if _, err := w.admin("ann").Revoke(t.Context(), &enrollmentv1.RevokeRequest{Name: cluster}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("the stream after a revocation: got %v", err)
	}
}

func TestAPassWorksOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.member()
	if err := m.enroll(w.token(false)); err != nil {
		t.Fatal(err)
	}
	pass, err := credential.SignPass(m.key, m.cert, proxyName, healthv1.Health_Check_FullMethodName, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Tandem-Pass "+pass)
	health := healthv1.NewHealthClient(w.proxied())
	if _, err := health.Check(ctx, &healthv1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := health.Check(ctx, &healthv1.HealthCheckRequest{}); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("the same pass again: got %v", err)
	}
}
