package enroll_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
	"github.com/tandem-cd/tandem/synchronizer/internal/enroll"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
)

func TestMain(m *testing.M) {
	// Idle connections to the API server outlive the test that made them.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*clientConnReadLoop).run"), goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"))
}

const (
	cluster = "prod-eu"
	// patience bounds each wait.
	patience = 30 * time.Second
)

// authority is a CA of the automator's.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: credential.NewSerial(now), Subject: pkix.Name{CommonName: "authority"}, NotBefore: now.AddDate(0, 0, -90),
		NotAfter: now.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return authority{key: key, cert: sign(t, template, template, key, key)}
}

func sign(t *testing.T, template, parent *x509.Certificate, public, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &public.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue signs a certificate for whoever, from a time on.
func (a authority) issue(t *testing.T, public *ecdsa.PublicKey, who rpc.Identity, from time.Time, life time.Duration) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: credential.NewSerial(from), NotBefore: from.Add(-time.Hour), NotAfter: from.Add(life), URIs: []*url.URL{rpc.IdentityURI(who)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return sign(t, template, a.cert, &ecdsa.PrivateKey{PublicKey: *public}, a.key)
}

func (a authority) answer(cert *x509.Certificate) *enrollmentv1.Certificate {
	return &enrollmentv1.Certificate{Chain: [][]byte{cert.Raw}, Ca: [][]byte{a.cert.Raw}}
}

// automator answers on loopback as the tests say.
type automator struct {
	enrollmentv1.UnimplementedEnrollmentServiceServer

	t         *testing.T
	authority authority
	address   string
	life      time.Duration // of certificates; a day unless it is set

	mu      sync.Mutex
	enrolls []*enrollmentv1.EnrollRequest
	renews  []*enrollmentv1.RenewRequest
	// onEnroll and onRenew answer instead; nil signs what is asked for.
	onEnroll func(*enrollmentv1.EnrollRequest) (*enrollmentv1.Certificate, error)
	onRenew  func(*enrollmentv1.RenewRequest) (*enrollmentv1.Certificate, error)
}

func newAutomator(t *testing.T) *automator {
	t.Helper()
	a := &automator{t: t, authority: newAuthority(t), life: 24 * time.Hour}
	key, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	own := sign(t, &x509.Certificate{
		SerialNumber: credential.NewSerial(now), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 1), DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.authority.cert, key, a.authority.key)
	shows := tls.Certificate{Certificate: [][]byte{own.Raw, a.authority.cert.Raw}, PrivateKey: key}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{shows}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13,
	})))
	enrollmentv1.RegisterEnrollmentServiceServer(server, a)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	a.address = listener.Addr().String()
	return a
}

func (a *automator) token() credential.Token {
	return credential.NewToken(credential.HashOf(a.authority.cert))
}

// Enroll redeems any token.
func (a *automator) Enroll(_ context.Context, req *enrollmentv1.EnrollRequest) (*enrollmentv1.EnrollResponse, error) {
	a.mu.Lock()
	a.enrolls = append(a.enrolls, req)
	answer := a.onEnroll
	a.mu.Unlock()
	if answer == nil {
		answer = func(req *enrollmentv1.EnrollRequest) (*enrollmentv1.Certificate, error) {
			return a.sign(req.GetCertificateRequest()), nil
		}
	}
	cert, err := answer(req)
	return &enrollmentv1.EnrollResponse{Cluster: cluster, Certificate: cert}, fault.ToStatus(err)
}

// Renew renews any certificate.
func (a *automator) Renew(_ context.Context, req *enrollmentv1.RenewRequest) (*enrollmentv1.RenewResponse, error) {
	a.mu.Lock()
	a.renews = append(a.renews, req)
	answer := a.onRenew
	a.mu.Unlock()
	if answer == nil {
		answer = func(req *enrollmentv1.RenewRequest) (*enrollmentv1.Certificate, error) {
			return a.sign(req.GetCertificateRequest()), nil
		}
	}
	cert, err := answer(req)
	return &enrollmentv1.RenewResponse{Certificate: cert}, fault.ToStatus(err)
}

func (a *automator) sign(request []byte) *enrollmentv1.Certificate {
	key, err := credential.ParseRequest(request)
	if err != nil {
		a.t.Error(err)
		return nil
	}
	return a.authority.answer(a.authority.issue(a.t, key, rpc.Identity{Role: rpc.RoleCluster, Name: cluster}, time.Now(), a.life))
}

// asked returns how often the automator was asked to enroll and to renew.
func (a *automator) asked() (enrolls, renews int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.enrolls), len(a.renews)
}

// member is a synchronizer's keeper.
type member struct {
	*enroll.Keeper

	t     *testing.T
	a     *automator
	vault enroll.Vault
	file  string // of the token
	anew  int    // how often the connection was replaced; of the keeper's goroutine until stop
	stop  func()
	known error // the problem that a test has seen
}

func (a *automator) member(vault enroll.Vault) *member {
	a.t.Helper()
	m := &member{t: a.t, a: a, vault: vault, file: filepath.Join(a.t.TempDir(), "token")}
	log, _ := logtest.New(a.t)
	link := relay.NewLink(func() (*grpc.ClientConn, error) { return m.Dial() })
	a.t.Cleanup(func() { _ = link.Close() })
	m.Keeper = enroll.New(enroll.Config{
		Cluster: cluster, TokenFile: m.file, Automator: enroll.Automator{Address: a.address, ServerName: "localhost"},
	}, enroll.Deps{Vault: vault, Conn: link.Conn, Log: log, Anew: func(*grpc.ClientConn) { m.anew++ }})
	m.known = m.Problem() // that nothing was read yet
	return m
}

// give puts a token where the keeper looks for it.
func (m *member) give(token credential.Token) {
	m.t.Helper()
	if err := os.WriteFile(m.file, []byte(token.String()+"\n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// run runs the keeper until stop.
func (m *member) run() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(m.t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = m.Run(ctx) })
	m.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	m.t.Cleanup(m.stop)
}

// waits until something holds.
func (m *member) waits(what string, holds func() bool) {
	m.t.Helper()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-deadline:
			m.t.Fatalf("%s: not in time; the keeper's problem is: %v", what, m.Problem())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// problem waits until the keeper has been refused something else than it was when this was asked last, and returns why.
func (m *member) problem() error {
	m.t.Helper()
	m.waits("a problem", func() bool { return m.Problem() != nil && m.Problem() != m.known }) //nolint:errorlint // is it another one?
	m.known = m.Problem()
	return m.known
}

// kept puts an identity into a vault, as a former process left it.
func (a *automator) kept(vault enroll.Vault, issued time.Time, life time.Duration) enroll.Kept {
	a.t.Helper()
	key, err := credential.NewKey()
	if err != nil {
		a.t.Fatal(err)
	}
	cert := a.authority.issue(a.t, &key.PublicKey, rpc.Identity{Role: rpc.RoleCluster, Name: cluster}, issued, life)
	kept := enroll.Kept{Key: key, Certificate: cert, CA: []*x509.Certificate{a.authority.cert}, Token: "of a former token"}
	empty, err := vault.Load(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	kept.Version = empty.Version
	if err := vault.Save(a.t.Context(), kept); err != nil {
		a.t.Fatal(err)
	}
	return kept
}
