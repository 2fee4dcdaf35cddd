package doctor_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/shared/doctor"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
)

func TestReport(t *testing.T) {
	t.Parallel()
	var r doctor.Report
	r.Ok("path", "%s\nanswers", "a:1")
	r.Warn("certificate", "renew it", "ends soon")
	if err := r.Err(); err != nil {
		t.Errorf("Err() after a warning: %v", err)
	}
	r.Fail("clock", "set it", "is off")
	if err := r.Err(); err == nil || err.Error() != "1 of 3 checks failed" {
		t.Errorf("Err(): %v", err)
	}
	var text, machine bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	want := "ok       path         a:1 answers\n" +
		"warning  certificate  ends soon\n                      → renew it\n" +
		"failure  clock        is off\n                      → set it\n"
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("WriteText: -want, +got:\n%s", diff)
	}
	if err := r.WriteJSON(&machine); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(machine.String(), `{"level":"warning","check":"certificate","what":"ends soon","next":"renew it"}`) {
		t.Errorf("WriteJSON: %s", &machine)
	}
}

func TestJudgements(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cases := map[string]struct {
		judge func(*doctor.Report)
		want  doctor.Level
	}{
		"SameClock":     {func(r *doctor.Report) { r.Clock("it", now, now, now) }, doctor.OK},
		"SlowAnswer":    {func(r *doctor.Report) { r.Clock("it", now, now.Add(-time.Minute), now) }, doctor.OK},
		"Ahead":         {func(r *doctor.Report) { r.Clock("it", now.Add(time.Minute), now, now) }, doctor.Failure},
		"Behind":        {func(r *doctor.Report) { r.Clock("it", now.Add(-time.Minute), now, now) }, doctor.Failure},
		"Fresh":         {func(r *doctor.Report) { r.Expiry("it", now, now.Add(time.Hour), "") }, doctor.OK},
		"Old":           {func(r *doctor.Report) { r.Expiry("it", now.Add(-time.Hour), now.Add(time.Minute), "") }, doctor.Warning},
		"Ended":         {func(r *doctor.Report) { r.Expiry("it", now.Add(-time.Hour), now, "") }, doctor.Failure},
		"SameVersion":   {func(r *doctor.Report) { r.Versions("c", "1.2.3", "1.2.3") }, doctor.OK},
		"TwoBehind":     {func(r *doctor.Report) { r.Versions("c", "v1.2.3", "1.4.0") }, doctor.OK},
		"ThreeBehind":   {func(r *doctor.Report) { r.Versions("c", "1.1.3", "1.4.0") }, doctor.Failure},
		"Newer":         {func(r *doctor.Report) { r.Versions("c", "1.5.0", "1.4.9") }, doctor.Failure},
		"OtherMajor":    {func(r *doctor.Report) { r.Versions("c", "1.5.0", "2.5.0") }, doctor.Failure},
		"NoVersion":     {func(r *doctor.Report) { r.Versions("c", "dev", "1.4.0") }, doctor.Warning},
		"UnknownBeside": {func(r *doctor.Report) { r.Versions("c", "1.4.0", "") }, doctor.Warning},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r doctor.Report
			tc.judge(&r)
			if got := r.Findings(); len(got) != 1 || got[0].Level != tc.want {
				t.Errorf("got %+v, want %s", got, tc.want)
			}
		})
	}
}

// listens serves TLS with a certificate of a CA, and returns where.
func listens(t *testing.T, ca *rpctest.CA) string {
	t.Helper()
	files, err := ca.Server("server")
	if err != nil {
		t.Fatal(err)
	}
	files.CA = ""
	config, err := files.Server()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1)) // shakes hands
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	return listener.Addr().String()
}

func TestPath(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	ca, err := rpctest.NewCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rpctest.NewCA(other); err != nil {
		t.Fatal(err)
	}
	trusted, err := rpc.ReadCertificates(dir + "/ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	strangers, err := rpc.ReadCertificates(other + "/ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	address := listens(t, ca)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		address, name string
		trusted       []*x509.Certificate
		proxied       bool
		check         string
		want          doctor.Level
		says          string
	}{
		"Direct":     {address, "localhost", trusted, false, "path", doctor.OK, "nothing on the way ends TLS"},
		"OtherName":  {address, "tandem.example.com", trusted, false, "name", doctor.Failure, "not for"},
		"Ended":      {address, "localhost", strangers, false, "path", doctor.Failure, "something ends TLS"},
		"MeantToEnd": {address, "localhost", strangers, true, "path", doctor.OK, "by a proxy that ends TLS"},
		"NoneThere":  {address, "localhost", trusted, true, "path", doctor.Warning, "although a proxy is configured"},
		"NotYet":     {address, "localhost", nil, false, "path", doctor.Warning, "no authority is known"},
		"Nobody":     {nobody.Addr().String(), "localhost", trusted, false, "path", doctor.Failure, "does not answer"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r doctor.Report
			r.Path(t.Context(), tc.address, tc.name, tc.trusted, tc.proxied)
			for _, f := range r.Findings() {
				if f.Check == tc.check {
					if f.Level != tc.want || !strings.Contains(f.What, tc.says) || tc.want == doctor.Failure && f.Next == "" {
						t.Errorf("got %+v, want %s and %q", f, tc.want, tc.says)
					}
					return
				}
			}
			t.Errorf("got %+v, want %s", r.Findings(), tc.check)
		})
	}
}
