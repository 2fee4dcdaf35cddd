package enroll_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/automator/internal/store/postgrestest"
	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

// at is the same cluster as a replica sees it.
func (m *member) at(w *world) *member {
	return &member{w: w, key: m.key, cert: m.cert, cas: m.cas}
}

func (m *member) watch(ctx context.Context) grpc.ServerStreamingClient[healthv1.HealthCheckResponse] {
	m.w.t.Helper()
	stream, err := healthv1.NewHealthClient(m.connect()).Watch(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		m.w.t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		m.w.t.Fatal(err)
	}
	return stream
}

// ended waits until a stream is cut; the test's deadline bounds the wait.
func ended(t *testing.T, stream grpc.ServerStreamingClient[healthv1.HealthCheckResponse]) {
	t.Helper()
	if _, err := stream.Recv(); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("the stream at another replica: %v", err)
	}
}

// TestRevocationsReachEveryReplica has two automators on one database.
func TestRevocationsReachEveryReplica(t *testing.T) {
	t.Parallel()
	one := newWorldOn(t, store.Config{Postgres: postgrestest.Database(t)})
	two := one.replica()
	m := one.member()
	if err := m.enroll(one.token(false)); err != nil {
		t.Fatal(err)
	}
	stream := m.at(two).watch(t.Context())
	if _, err := one.admin("ann").Revoke(t.Context(), &enrollmentv1.RevokeRequest{Name: cluster}); err != nil {
		t.Fatal(err)
	}
	ended(t, stream)
	if err := check(t.Context(), m.at(two)); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("a call to another replica: %v", err)
	}
	if err := m.at(two).renew(m.at(two).connect()); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("a renewal at another replica: %v", err)
	}
}

// TestReplacementsReachEveryReplica has a token that replaces redeemed at one replica, of a cluster that talks to another.
func TestReplacementsReachEveryReplica(t *testing.T) {
	t.Parallel()
	one := newWorldOn(t, store.Config{Postgres: postgrestest.Database(t)})
	two := one.replica()
	lost, found := one.member(), one.member()
	if err := lost.enroll(one.token(false)); err != nil {
		t.Fatal(err)
	}
	stream := lost.at(two).watch(t.Context())
	if err := found.enroll(one.token(true)); err != nil {
		t.Fatal(err)
	}
	ended(t, stream)
	if err := check(t.Context(), found.at(two)); err != nil {
		t.Errorf("the successor at another replica: %v", err)
	}
}
