package enroll_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"

	"github.com/tandem-cd/tandem/automator/internal/authority"
	"github.com/tandem-cd/tandem/automator/internal/enroll"
	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/automator/internal/store/postgrestest"
	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Closing(m)) }

const (
	cluster   = "prod-eu"
	proxyName = "proxy.example.com"
)

// world is an automator's doors over real TLS on loopback, with a real store.
type world struct {
	t       *testing.T
	dir     string
	kept    store.Config
	life    time.Duration
	admins  []string
	signer  *authority.Authority
	service *enroll.Service
	logs    *observer.ObservedLogs
	address string
	plain   string // the address without TLS, for a proxy
	stop    func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, store.Config{})
}

// newWorldOn has its store where the configuration says; in a file when it says nothing.
func newWorldOn(t *testing.T, kept store.Config) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), kept: kept, admins: []string{"ann"}}
	if len(kept.Postgres.Hosts) == 0 {
		w.kept.Path = w.file("tandem.db")
	}
	cert, key, err := authority.Create(time.Now().AddDate(0, 0, -60), 365*24*time.Hour) // older than any certificate in these tests
	if err != nil {
		t.Fatal(err)
	}
	w.install(cert, key)
	w.start()
	return w
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

func (w *world) install(cert, key []byte) {
	w.t.Helper()
	for name, content := range map[string][]byte{"ca.crt": cert, "ca.key": key} {
		if err := os.WriteFile(w.file(name), content, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) files() (cert, key []byte) {
	w.t.Helper()
	cert, err := os.ReadFile(w.file("ca.crt"))
	if err != nil {
		w.t.Fatal(err)
	}
	key, err = os.ReadFile(w.file("ca.key"))
	if err != nil {
		w.t.Fatal(err)
	}
	return cert, key
}

// replica starts another automator on the same store, with the same authority.
func (w *world) replica() *world {
	w.t.Helper()
	other := &world{t: w.t, dir: w.dir, kept: w.kept, admins: w.admins}
	other.start()
	return other
}

// start starts the automator's part, as after every restart.
func (w *world) start() {
	t := w.t
	t.Helper()
	kept, err := store.Open(t.Context(), w.kept)
	if err != nil {
		t.Fatal(err)
	}
	w.signer, err = authority.Open(authority.Config{
		CertFile: w.file("ca.crt"), KeyFile: w.file("ca.key"), ServerNames: []string{"localhost"}, CertificateLife: config.Duration(w.life),
	})
	if err != nil {
		t.Fatal(err)
	}
	log, logs := logtest.New(t)
	w.logs = logs
	calls := rpc.NewCalls()
	service, err := enroll.New(t.Context(), enroll.Config{Audiences: []string{proxyName}, Admins: w.admins},
		enroll.Deps{Authority: w.signer, Store: kept, Calls: calls, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w.service = service
	cfg := rpc.ServerConfig{
		TLS: w.signer.ServerTLS(), Identify: service.Identify, Calls: calls, Log: log,
		Public: func(method string) bool { return strings.Contains(method, ".EnrollmentService/") },
		Authorize: func(_ context.Context, id rpc.Identity, method string) error {
			if err := service.Admit(id); err != nil || !strings.Contains(method, "Admin") {
				return err
			}
			return service.AdmitAdmin(id)
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	serve := func(cfg rpc.ServerConfig) string {
		server := rpc.NewServer(cfg)
		enrollmentv1.RegisterEnrollmentServiceServer(server.GRPC, service)
		enrollmentv1.RegisterEnrollmentAdminServiceServer(server.GRPC, enroll.NewAdmin(service))
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { _ = server.Serve(ctx, listener) })
		return listener.Addr().String()
	}
	w.address = serve(cfg)
	cfg.TLS = nil
	w.plain = serve(cfg)
	wg.Go(func() { _ = kept.Run(ctx, func(err error) { t.Error(err) }) })
	wg.Go(func() { _ = service.Run(ctx) })
	w.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
}

// dial connects with a TLS configuration.
func (w *world) dial(cfg *tls.Config, options ...grpc.DialOption) *grpc.ClientConn {
	w.t.Helper()
	conn, err := rpc.Dial(w.address, cfg, options...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// admin connects as a user.
func (w *world) admin(name string) enrollmentv1.EnrollmentAdminServiceClient {
	w.t.Helper()
	caCert, caKey := w.files()
	cert, key, err := authority.IssueUser(caCert, caKey, name, time.Now(), time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		w.t.Fatal(err)
	}
	conn := w.dial(rpc.ClientTLS("localhost", rpc.Pinned(w.signer.Pin()), func() *tls.Certificate { return &pair }))
	return enrollmentv1.NewEnrollmentAdminServiceClient(conn)
}

func (w *world) token(replace bool) string {
	w.t.Helper()
	resp, err := w.admin("ann").CreateToken(w.t.Context(), &enrollmentv1.CreateTokenRequest{Cluster: cluster, Replace: replace})
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.GetToken()
}

// member is a cluster with a key.
type member struct {
	w    *world
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	cas  []*x509.Certificate
}

func (w *world) member() *member {
	w.t.Helper()
	key, err := credential.NewKey()
	if err != nil {
		w.t.Fatal(err)
	}
	return &member{w: w, key: key}
}

func (m *member) request() []byte {
	m.w.t.Helper()
	der, err := credential.NewRequest(m.key)
	if err != nil {
		m.w.t.Fatal(err)
	}
	return der
}

// enroll redeems a token, and recognises the automator by it.
func (m *member) enroll(text string) error {
	m.w.t.Helper()
	token, err := credential.ParseToken(text)
	if err != nil {
		m.w.t.Fatal(err)
	}
	conn := m.w.dial(rpc.ClientTLS("localhost", rpc.Pinned(token.CA), nil))
	resp, err := enrollmentv1.NewEnrollmentServiceClient(conn).Enroll(m.w.t.Context(), &enrollmentv1.EnrollRequest{
		Token: text, CertificateRequest: m.request(), Version: "1.2.3",
	})
	if err != nil {
		return err
	}
	if resp.GetCluster() != cluster {
		m.w.t.Errorf("Enroll(...): for %q, want %q", resp.GetCluster(), cluster)
	}
	m.take(resp.GetCertificate())
	return nil
}

func (m *member) take(answer *enrollmentv1.Certificate) {
	m.w.t.Helper()
	cert, err := x509.ParseCertificate(answer.GetChain()[0])
	if err != nil {
		m.w.t.Fatal(err)
	}
	m.cert, m.cas = cert, nil
	for _, der := range answer.GetCa() {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			m.w.t.Fatal(err)
		}
		m.cas = append(m.cas, ca)
	}
}

func (m *member) roots([]*x509.Certificate) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, ca := range m.cas {
		pool.AddCert(ca)
	}
	return pool, nil
}

// connect dials as an enrolled cluster does.
func (m *member) connect() *grpc.ClientConn {
	m.w.t.Helper()
	return m.w.dial(rpc.ClientTLS("localhost", m.roots, func() *tls.Certificate {
		if time.Now().After(m.cert.NotAfter) {
			return nil
		}
		return &tls.Certificate{Certificate: [][]byte{m.cert.Raw}, PrivateKey: m.key}
	}))
}

func (m *member) renew(conn *grpc.ClientConn) error {
	m.w.t.Helper()
	resp, err := enrollmentv1.NewEnrollmentServiceClient(conn).Renew(m.w.t.Context(), &enrollmentv1.RenewRequest{
		CertificateRequest: m.request(), PresentCertificate: m.cert.Raw,
	})
	if err != nil {
		return err
	}
	m.take(resp.GetCertificate())
	return nil
}
