package enroll_test

import (
	"context"
	"testing"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tandem-cd/tandem/automator/internal/authority"
	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// check calls something that needs an identity.
func check(ctx context.Context, m *member) error {
	_, err := healthv1.NewHealthClient(m.connect()).Check(ctx, &healthv1.HealthCheckRequest{})
	return err
}

func TestATokenEnrollsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.token(false)
	first, second := w.member(), w.member()
	if err := first.enroll(token); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), first); err != nil {
		t.Errorf("call with the certificate: %v", err)
	}
	if err := first.enroll(token); err != nil {
		t.Errorf("the same key with the same token, as after a lost answer: %v", err)
	}
	if err := second.enroll(token); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("another key with the same token: got %v", err)
	}
	if err := second.enroll(credential.NewToken(w.signer.Pin()).String()); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("a token that nobody made: got %v", err)
	}
	id, err := rpc.IdentityOf(first.cert)
	if err != nil || id.Name != cluster || id.Role != rpc.RoleCluster {
		t.Errorf("identity of the certificate: %v, %v", id, err)
	}
	if life := first.cert.NotAfter.Sub(credential.IssuedAt(first.cert)); (life - authority.DefaultLife).Abs() > time.Second {
		t.Errorf("the certificate lives %s, want %s", life, authority.DefaultLife)
	}
}

func TestAnAutomatorThatTheTokenDoesNotNameGetsNoToken(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	token := other.token(false)
	if err := w.member().enroll(token); !fault.Is(err, fault.Unavailable) { // the handshake fails before anything is sent
		t.Errorf("Enroll(token of another automator): got %v", err)
	}
	if err := other.member().enroll(token); err != nil {
		t.Errorf("Enroll(...) where the token is from, afterwards: %v", err)
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.member()
	if err := m.enroll(w.token(false)); err != nil {
		t.Fatal(err)
	}
	conn, before := m.connect(), m.cert
	if err := m.renew(conn); err != nil {
		t.Fatal(err)
	}
	if !credential.IssuedAt(m.cert).After(credential.IssuedAt(before)) {
		t.Error("the successor is not newer")
	}
	if err := check(t.Context(), m); err != nil {
		t.Errorf("call with the successor: %v", err)
	}
	thief := w.member()
	thief.cert, thief.cas = m.cert, m.cas
	if err := thief.renew(w.dial(rpc.ClientTLS("localhost", m.roots, nil))); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("the certificate without its key: got %v", err)
	}
}

func TestRevocationEndsStreamsAndSurvivesARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.member()
	if err := m.enroll(w.token(false)); err != nil {
		t.Fatal(err)
	}
	conn := m.connect()
	stream, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	resp, err := w.admin("ann").Revoke(t.Context(), &enrollmentv1.RevokeRequest{Name: cluster})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream goes on")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stream ended after %s", took)
	}
	if resp.GetCallsEnded() != 1 {
		t.Errorf("Revoke(...): %d calls ended, want 1", resp.GetCallsEnded())
	}
	w.stop()
	w.start()
	if err := check(t.Context(), m); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("a call after a restart: got %v", err)
	}
	if err := m.renew(m.connect()); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("a renewal after a restart: got %v", err)
	}
	again := w.member()
	if err := again.enroll(w.token(false)); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), again); err != nil {
		t.Errorf("a call after enrolling anew: %v", err)
	}
	if err := check(t.Context(), m); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("the old certificate after enrolling anew: got %v", err)
	}
}

// TestRevocationReachesAnEnrollmentUnderWay has a cluster revoked once its token is redeemed, before it has a certificate.
func TestRevocationReachesAnEnrollmentUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.member()
	for _, round := range []string{"never revoked before", "revoked before"} {
		token, err := credential.ParseToken(w.token(false))
		if err != nil {
			t.Fatal(err)
		}
		redeemed, err := w.service.Redeem(t.Context(), token, &m.key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.admin("ann").Revoke(t.Context(), &enrollmentv1.RevokeRequest{Name: cluster}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.service.Certify(t.Context(), &m.key.PublicKey, redeemed); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("%s: the certificate: %v", round, err)
		}
	}
	if err := m.enroll(w.token(false)); err != nil {
		t.Errorf("enrolling anew: %v", err)
	}
	if err := check(t.Context(), m); err != nil {
		t.Errorf("a call after enrolling anew: %v", err)
	}
}

func TestReplaceRevokesTheOldKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lost, found := w.member(), w.member()
	if err := lost.enroll(w.token(false)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.admin("ann").CreateToken(t.Context(), &enrollmentv1.CreateTokenRequest{Cluster: cluster}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second token without replace: got %v", err)
	}
	token := w.token(true)
	if err := check(t.Context(), lost); err != nil {
		t.Errorf("the old key before the token is redeemed: %v", err)
	}
	if err := found.enroll(token); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), lost); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("the old key: got %v", err)
	}
	if err := found.enroll(token); err != nil {
		t.Errorf("the same request again: %v", err)
	}
	if err := check(t.Context(), found); err != nil {
		t.Errorf("the new key: %v", err)
	}
}

func TestOnlyAdminsAdminister(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.admin("bob").CreateToken(t.Context(), &enrollmentv1.CreateTokenRequest{Cluster: cluster}); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("a user who is no admin: got %v", err)
	}
	m := w.member()
	if err := m.enroll(w.token(false)); err != nil {
		t.Fatal(err)
	}
	_, err := enrollmentv1.NewEnrollmentAdminServiceClient(m.connect()).Revoke(t.Context(), &enrollmentv1.RevokeRequest{Name: "other"})
	if !fault.Is(err, fault.Unauthorized) {
		t.Errorf("a cluster: got %v", err)
	}
	nobody := w.dial(rpc.ClientTLS("localhost", rpc.Pinned(w.signer.Pin()), nil))
	if _, err := enrollmentv1.NewEnrollmentAdminServiceClient(nobody).ListIdentities(t.Context(), &enrollmentv1.ListIdentitiesRequest{}); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("nobody: got %v", err)
	}
}
