package enroll_test

import (
	"crypto/x509"
	"os"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/authority"
	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
)

func TestRotationCutsNobodyOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.member()
	if err := m.enroll(w.token(false)); err != nil {
		t.Fatal(err)
	}
	late := w.token(true) // made before the rotation, redeemed during it
	oldCert, oldKey := w.files()
	newCert, newKey, err := authority.Rotate(oldCert, oldKey, time.Now(), 365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.install(newCert, newKey)
	w.start()

	if err := check(t.Context(), m); err != nil {
		t.Fatalf("a cluster that knows only the old authority: %v", err)
	}
	resp, err := w.admin("ann").GetAuthority(t.Context(), &enrollmentv1.GetAuthorityRequest{})
	if err != nil || len(resp.GetAuthorities()) != 2 || resp.GetAuthorities()[1].GetClusters() != 1 {
		t.Errorf("GetAuthority() before the renewal: %v, %v", resp, err)
	}
	if err := m.renew(m.connect()); err != nil {
		t.Fatal(err)
	}
	if len(m.cas) != 2 {
		t.Errorf("the renewal told of %d authorities, want 2", len(m.cas))
	}
	if resp, err = w.admin("ann").GetAuthority(t.Context(), &enrollmentv1.GetAuthorityRequest{}); err != nil || resp.GetAuthorities()[0].GetClusters() != 1 {
		t.Errorf("GetAuthority() after the renewal: %v, %v", resp, err)
	}

	// The old one goes.
	certs, err := credential.ParseCertificates(newCert)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := credential.ParseKeys(newKey)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := credential.EncodeKey(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	token := w.token(true)
	newcomer := w.member()
	if err := newcomer.enroll(late); err != nil {
		t.Errorf("a token from before the rotation: %v", err)
	}
	if err := m.renew(m.connect()); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("the replaced key: got %v", err)
	}
	w.stop()
	w.install(credential.EncodeCertificates(certs[0]), alone)
	w.start()
	if err := check(t.Context(), newcomer); err != nil {
		t.Errorf("a cluster of the new authority after the old one is gone: %v", err)
	}
	if err := w.member().enroll(token); err != nil {
		t.Errorf("a token of the new authority: %v", err)
	}
}

func TestLapsedCertificates(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		ago    time.Duration // since it was issued
		want   bool
	}{
		"Yesterday": {"The automator was gone for a day.", authority.DefaultLife + time.Hour, true},
		"LongAgo":   {"The cluster was asleep for weeks.", authority.DefaultLife + authority.RenewWithin - time.Hour, true},
		"TooLate":   {"Nobody knows what became of it.", authority.DefaultLife + authority.RenewWithin + time.Hour, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.member()
			cert, _, err := w.signer.Issue(&m.key.PublicKey, rpc.Identity{Role: rpc.RoleCluster, Name: cluster}, time.Now().Add(-tc.ago))
			if err != nil {
				t.Fatal(err)
			}
			m.cert, m.cas = cert, []*x509.Certificate{w.signer.Known()[0].Certificate}
			err = m.renew(m.connect())
			if (err == nil) != tc.want || err != nil && !fault.Is(err, fault.Unauthorized) {
				t.Fatalf("%s: Renew(...): got %v", tc.reason, err)
			}
			if tc.want {
				if err := check(t.Context(), m); err != nil {
					t.Errorf("a call with the successor: %v", err)
				}
			}
		})
	}
}

func TestALostStoreKnowsTheClustersButNotTheRevocations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.member()
	if err := m.enroll(w.token(false)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.admin("ann").Revoke(t.Context(), &enrollmentv1.RevokeRequest{Name: cluster}); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), m); !fault.Is(err, fault.Unauthorized) {
		t.Fatalf("a revoked cluster: got %v", err)
	}
	w.stop()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(w.file("tandem.db" + suffix)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	w.start()
	if err := check(t.Context(), m); err != nil {
		t.Errorf("without the store a certificate of the authority counts, as docs/decisions/0009 says: %v", err)
	}
	if _, err := w.admin("ann").Revoke(t.Context(), &enrollmentv1.RevokeRequest{Name: cluster}); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), m); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("revoked again, although the store has never seen its certificate: got %v", err)
	}
}

func TestStrangersAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.dial(rpc.ClientTLS("localhost", rpc.Pinned(w.signer.Pin()), nil))
	client := enrollmentv1.NewEnrollmentServiceClient(conn)
	refused := 0
	for range 200 {
		_, err := client.Enroll(t.Context(), &enrollmentv1.EnrollRequest{Token: "x", CertificateRequest: []byte("x")})
		if fault.Is(err, fault.Conflict) {
			refused++
		}
	}
	if refused == 0 {
		t.Error("200 calls of a stranger at once were all answered")
	}
	m := w.member()
	cert, _, err := w.signer.Issue(&m.key.PublicKey, rpc.Identity{Role: rpc.RoleCluster, Name: cluster}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m.cert, m.cas = cert, []*x509.Certificate{w.signer.Known()[0].Certificate}
	if err := m.renew(m.connect()); err != nil {
		t.Errorf("a cluster renews from the same address while a stranger floods: %v", err)
	}
}
