package enroll

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

// door counts how often it is asked to renew, and refuses.
type door struct {
	enrollmentv1.UnimplementedEnrollmentServiceServer
	asked atomic.Int32
}

func (d *door) Renew(context.Context, *enrollmentv1.RenewRequest) (*enrollmentv1.RenewResponse, error) {
	d.asked.Add(1)
	return nil, fault.ToStatus(fault.New(fault.Unauthorized, "no"))
}

// open serves a door and returns how to reach it.
func open(t *testing.T, d *door) *grpc.ClientConn {
	t.Helper()
	listener, server := bufconn.Listen(1<<16), grpc.NewServer()
	enrollmentv1.RegisterEnrollmentServiceServer(server, d)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // ends with Stop
	conn, err := grpc.NewClient("passthrough:///door", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close() // nothing is lost by it
		server.Stop()
		serving.Wait()
	})
	return conn
}

// identity is a key with a certificate of its own that lives for an hour.
func identity(t *testing.T, issued time.Time) Kept {
	t.Helper()
	key, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: issued, NotAfter: issued.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return Kept{Key: key, Certificate: cert, CA: []*x509.Certificate{cert}}
}

// A call may be refused because the certificate expired while the machine was suspended, or before its clock was set: the
// timer of the renewal saw neither.
func TestARefusedCallRenewsWhatIsDue(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		age    time.Duration
		want   int32
	}{
		"Fresh":   {"it was refused for something else, such as a revocation", 10 * time.Minute, 0},
		"Due":     {"the timer should have fired", 40 * time.Minute, 1},
		"Expired": {"the timer should have fired long ago", 24 * time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vault := Dir(filepath.Join(t.TempDir(), "identity"))
			empty, err := vault.Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			kept := identity(t, time.Now().Add(-tc.age))
			kept.Version = empty.Version
			if err := vault.Save(t.Context(), kept); err != nil {
				t.Fatal(err)
			}
			d := &door{}
			conn := open(t, d)
			log, _ := logtest.New(t)
			k := New(Config{Cluster: "dev"}, Deps{
				Vault: vault, Conn: func() (*grpc.ClientConn, error) { return conn, nil }, Anew: func(*grpc.ClientConn) {}, Log: log,
			})
			err = k.attempt(t.Context(), reasonRefused)
			if got := d.asked.Load(); got != tc.want || (err != nil) != (tc.want > 0) {
				t.Errorf("%s: asked to renew %d times, %v; want %d", tc.reason, got, err, tc.want)
			}
		})
	}
}
