package enroll_test

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/synchronizer/internal/enroll"
)

func TestATokenIsRedeemed(t *testing.T) {
	t.Parallel()
	a := newAutomator(t)
	vault := enroll.Dir(t.TempDir())
	m := a.member(vault)
	token := a.token()
	a.onEnroll = func(req *enrollmentv1.EnrollRequest) (*enrollmentv1.Certificate, error) {
		kept, err := vault.Load(t.Context())
		if err != nil || kept.Key == nil {
			t.Errorf("the token was sent before the key was kept: %v", err)
		}
		return a.sign(req.GetCertificateRequest()), nil
	}
	if own, _ := m.Certificates(); own != nil {
		t.Error("Certificates(): one before there is one")
	}
	m.give(token)
	m.run()
	m.waits("enrolled", func() bool { return m.Problem() == nil })
	<-m.Enrolled()
	kept, err := vault.Load(t.Context())
	if err != nil || kept.Certificate == nil {
		t.Fatalf("kept: %+v, %v", kept, err)
	}
	own, authorities := m.Certificates()
	if !own.Equal(kept.Certificate) || len(authorities) != 1 || !authorities[0].Equal(a.authority.cert) {
		t.Errorf("Certificates(): %v %v", own, authorities)
	}
	if got := a.enrolls[0].GetToken(); got != token.String() {
		t.Errorf("sent the token %q", got)
	}
}

func TestRenewalAtHalfOfTheLife(t *testing.T) {
	t.Parallel()
	a := newAutomator(t)
	vault := enroll.Dir(t.TempDir())
	before := a.kept(vault, time.Now(), 8*time.Second)
	m := a.member(vault)
	m.run()
	m.waits("used", func() bool { own, _ := m.Certificates(); return own != nil })
	if _, renews := a.asked(); renews != 0 {
		t.Error("renewed a certificate that is new")
	}
	m.waits("renewed", func() bool { own, _ := m.Certificates(); return !own.Equal(before.Certificate) })
	asked := time.Now()
	m.stop()
	if early := credential.RenewAt(before.Certificate).Add(-time.Second); asked.Before(early) {
		t.Errorf("renewed at %s, before %s", asked, early)
	}
	own, _ := m.Certificates()
	if !before.Key.PublicKey.Equal(own.PublicKey) {
		t.Error("the key changed")
	}
	if m.anew != 0 {
		t.Error("a renewal in time replaced the connection")
	}
}

func TestAnExpiredCertificateIsRenewedWithItsKey(t *testing.T) {
	t.Parallel()
	a := newAutomator(t)
	vault := enroll.Dir(t.TempDir())
	before := a.kept(vault, time.Now().AddDate(0, 0, -30), 24*time.Hour)
	m := a.member(vault)
	m.run()
	m.waits("renewed", func() bool { return m.Problem() == nil })
	m.stop()
	if got := a.renews[0].GetPresentCertificate(); string(got) != string(before.Certificate.Raw) {
		t.Error("the expired certificate was not shown")
	}
	own, _ := m.Certificates()
	if time.Until(own.NotAfter) < time.Hour || !before.Key.PublicKey.Equal(own.PublicKey) {
		t.Errorf("renewed: until %s, of the same key: %t", own.NotAfter, before.Key.PublicKey.Equal(own.PublicKey))
	}
	if m.anew != 1 {
		t.Errorf("the connection without a certificate was replaced %d times, want 1", m.anew)
	}
}

// TestARefusedClusterNeedsANewToken also holds that a new token gets a new key.
func TestARefusedClusterNeedsANewToken(t *testing.T) {
	t.Parallel()
	a := newAutomator(t)
	a.onRenew = func(*enrollmentv1.RenewRequest) (*enrollmentv1.Certificate, error) {
		return nil, fault.New(fault.Unauthorized, "certificates of %s were revoked", cluster)
	}
	vault := enroll.Dir(t.TempDir())
	before := a.kept(vault, time.Now().AddDate(0, 0, -2), 24*time.Hour)
	m := a.member(vault)
	m.run()
	if err := m.problem(); !strings.Contains(err.Error(), "were revoked") {
		t.Errorf("Problem(): %v", err)
	}
	if kept, err := vault.Load(t.Context()); err != nil || !kept.Certificate.Equal(before.Certificate) {
		t.Errorf("what is kept changed: %v, %v", kept, err)
	}
	m.give(a.token())
	m.waits("enrolled anew", func() bool { return m.Problem() == nil })
	m.stop()
	own, _ := m.Certificates()
	if before.Key.PublicKey.Equal(own.PublicKey) {
		t.Error("the key of the revoked certificate is still used")
	}
	if enrolls, _ := a.asked(); enrolls != 1 {
		t.Errorf("the token was sent %d times", enrolls)
	}
}

// TestBadAnswers holds that nothing is kept, and nobody called, by an answer that is not for this cluster.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	ours := rpc.Identity{Role: rpc.RoleCluster, Name: cluster}
	cases := map[string]struct {
		reason string
		answer func(t *testing.T, a *automator, cert *enrollmentv1.Certificate, key *x509.CertificateRequest) *enrollmentv1.Certificate
		says   string
	}{
		"Nothing": {
			"an answer without a certificate",
			func(*testing.T, *automator, *enrollmentv1.Certificate, *x509.CertificateRequest) *enrollmentv1.Certificate {
				return nil
			}, "holds no certificate",
		},
		"NoCertificate": {
			"bytes that are no certificate",
			func(_ *testing.T, _ *automator, cert *enrollmentv1.Certificate, _ *x509.CertificateRequest) *enrollmentv1.Certificate {
				cert.Chain = [][]byte{[]byte("garbage")}
				return cert
			}, "the automator's answer",
		},
		"NoAuthority": {
			"bytes that are no authority",
			func(_ *testing.T, _ *automator, cert *enrollmentv1.Certificate, _ *x509.CertificateRequest) *enrollmentv1.Certificate {
				cert.Ca = [][]byte{[]byte("garbage")}
				return cert
			}, "authority",
		},
		"ManyAuthorities": {
			"more authorities than anybody has",
			func(_ *testing.T, a *automator, cert *enrollmentv1.Certificate, _ *x509.CertificateRequest) *enrollmentv1.Certificate {
				for range credential.MaxBundle {
					cert.Ca = append(cert.Ca, a.authority.cert.Raw)
				}
				return cert
			}, "holds no certificate and authority",
		},
		"OtherKey": {
			"a certificate for somebody else's key",
			func(t *testing.T, a *automator, _ *enrollmentv1.Certificate, _ *x509.CertificateRequest) *enrollmentv1.Certificate {
				key, err := credential.NewKey()
				if err != nil {
					t.Error(err)
				}
				return a.authority.answer(a.authority.issue(t, &key.PublicKey, ours, time.Now(), time.Hour))
			}, "for another key",
		},
		"OtherCluster": {
			"our key under another name",
			func(t *testing.T, a *automator, _ *enrollmentv1.Certificate, r *x509.CertificateRequest) *enrollmentv1.Certificate {
				return a.authority.answer(a.authority.issue(t, publicKey(t, r), rpc.Identity{Role: rpc.RoleCluster, Name: "other"}, time.Now(), time.Hour))
			}, "make them equal",
		},
		"User": {
			"our key as a person's",
			func(t *testing.T, a *automator, _ *enrollmentv1.Certificate, r *x509.CertificateRequest) *enrollmentv1.Certificate {
				return a.authority.answer(a.authority.issue(t, publicKey(t, r), rpc.Identity{Role: rpc.RoleUser, Name: cluster}, time.Now(), time.Hour))
			}, "make them equal",
		},
		"OtherSigner": {
			"signed by an authority that is not in the answer",
			func(t *testing.T, a *automator, _ *enrollmentv1.Certificate, r *x509.CertificateRequest) *enrollmentv1.Certificate {
				return a.authority.answer(newAuthority(t).issue(t, publicKey(t, r), ours, time.Now(), time.Hour))
			}, "does not fit together",
		},
		"OtherAuthority": {
			"of an authority that the token does not name",
			func(t *testing.T, _ *automator, _ *enrollmentv1.Certificate, r *x509.CertificateRequest) *enrollmentv1.Certificate {
				other := newAuthority(t)
				return other.answer(other.issue(t, publicKey(t, r), ours, time.Now(), time.Hour))
			}, "the authority that the token names",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAutomator(t)
			vault := enroll.Dir(t.TempDir())
			m := a.member(vault)
			m.give(a.token())
			a.onEnroll = func(req *enrollmentv1.EnrollRequest) (*enrollmentv1.Certificate, error) {
				request, err := x509.ParseCertificateRequest(req.GetCertificateRequest())
				if err != nil {
					t.Error(err)
				}
				return tc.answer(t, a, a.sign(req.GetCertificateRequest()), request), nil
			}
			m.run()
			if err := m.problem(); !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: Problem(): %v, want %q in it", tc.reason, err, tc.says)
			}
			m.stop()
			if kept, err := vault.Load(t.Context()); err != nil || kept.Certificate != nil {
				t.Errorf("%s: kept %+v, %v", tc.reason, kept, err)
			}
			select {
			case <-m.Enrolled():
				t.Errorf("%s: enrolled", tc.reason)
			default:
			}
		})
	}
}

func TestAnAutomatorThatRepeatsTheToken(t *testing.T) {
	t.Parallel()
	a := newAutomator(t)
	m := a.member(enroll.Dir(t.TempDir()))
	token := a.token()
	m.give(token)
	a.onEnroll = func(req *enrollmentv1.EnrollRequest) (*enrollmentv1.Certificate, error) {
		return nil, fault.New(fault.Unauthorized, "not with %s", req.GetToken())
	}
	m.run()
	if err := m.problem(); !strings.Contains(err.Error(), "not with ") || strings.Contains(err.Error(), token.String()) || !fault.Is(err, fault.Unauthorized) {
		t.Errorf("Problem(): %v, want it unauthorized without the token", err)
	}
}

func TestAStrangerGetsNoToken(t *testing.T) {
	t.Parallel()
	a := newAutomator(t)
	m := a.member(enroll.Dir(t.TempDir()))
	m.give(credential.NewToken(credential.HashOf(newAuthority(t).cert)))
	m.run()
	_ = m.problem()
	m.stop()
	if enrolls, _ := a.asked(); enrolls != 0 {
		t.Errorf("an automator that the token does not name was sent it %d times", enrolls)
	}
}

var errBoom = errors.New("boom")

// broken is a vault that fails.
type broken struct {
	enroll.Vault

	load, save error
}

func (b broken) Load(ctx context.Context) (enroll.Kept, error) {
	if b.load != nil {
		return enroll.Kept{}, b.load
	}
	return b.Vault.Load(ctx)
}

func (b broken) Save(ctx context.Context, kept enroll.Kept) error {
	if b.save != nil {
		return b.save
	}
	return b.Vault.Save(ctx, kept)
}

// TestAVaultThatFails holds that a token is not spent when its key could not be kept.
func TestAVaultThatFails(t *testing.T) {
	t.Parallel()
	for name, vault := range map[string]broken{"Load": {load: errBoom}, "Save": {save: errBoom}, "Conflict": {save: fault.New(fault.Conflict, "changed")}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAutomator(t)
			vault.Vault = enroll.Dir(t.TempDir())
			m := a.member(vault)
			m.give(a.token())
			m.run()
			if err := m.problem(); !errors.Is(err, errBoom) && !fault.Is(err, fault.Conflict) {
				t.Errorf("Problem(): %v", err)
			}
			m.stop()
			if enrolls, _ := a.asked(); enrolls != 0 {
				t.Errorf("the token was sent %d times", enrolls)
			}
		})
	}
}

// TestARenewalThatCannotBeKept holds that a certificate which is not kept is not used: a restart would fall back behind it.
func TestARenewalThatCannotBeKept(t *testing.T) {
	t.Parallel()
	a := newAutomator(t)
	dir := enroll.Dir(t.TempDir())
	before := a.kept(dir, time.Now().Add(-20*time.Hour), 24*time.Hour)
	m := a.member(broken{Vault: dir, save: errBoom})
	m.run()
	if err := m.problem(); !errors.Is(err, errBoom) {
		t.Errorf("Problem(): %v, want boom", err)
	}
	m.stop()
	if own, _ := m.Certificates(); !own.Equal(before.Certificate) {
		t.Error("a certificate is used that is not kept")
	}
}
