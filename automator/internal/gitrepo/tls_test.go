package gitrepo_test

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/automator/internal/tlsfiles"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
)

// authority makes certificates of a host and its callers.
type authority struct {
	*rpctest.CA

	host, caller rpc.TLSFiles
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	ca, err := rpctest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host, err := ca.Server("git-host")
	if err != nil {
		t.Fatal(err)
	}
	caller, err := ca.Client(rpc.Identity{Role: rpc.RoleUser, Name: "tandem"})
	if err != nil {
		t.Fatal(err)
	}
	return authority{CA: ca, host: host, caller: caller}
}

// replace writes the files of one over those of another.
func replace(t *testing.T, old, by rpc.TLSFiles) {
	t.Helper()
	for to, from := range map[string]string{old.Cert: by.Cert, old.Key: by.Key, old.CA: by.CA} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// replaceCA writes the CA file of one over that of another.
func replaceCA(t *testing.T, old, by rpc.TLSFiles) {
	t.Helper()
	content, err := os.ReadFile(by.CA)
	if err == nil {
		err = os.WriteFile(old.CA, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func shows(files rpc.TLSFiles) func(*gitrepo.Config) {
	return func(cfg *gitrepo.Config) {
		cfg.TLS = tlsfiles.Files{CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}
	}
}

// seededTLS is a host with these certificates and one commit on main. With a CA it demands certificates.
func seededTLS(t *testing.T, files rpc.TLSFiles) *gitrepotest.Server {
	t.Helper()
	config, err := files.Server()
	if err != nil {
		t.Fatal(err)
	}
	s := gitrepotest.NewTLS(t, config)
	seed := t.TempDir()
	gitrepotest.Git(t, "", "init", "--quiet", "--initial-branch=main", seed)
	gitrepotest.Git(t, seed, "commit", "--quiet", "--allow-empty", "--message", "first")
	gitrepotest.Git(t, seed, "push", "--quiet", s.Dir, "main")
	return s
}

// A host that demands a certificate is shown the one in the files, as they are now.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	first, second := newAuthority(t), newAuthority(t)
	s := seededTLS(t, first.host)
	r := fetched(t, s, shows(first.caller))
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{{Ref: otherRef, New: tip(t, r, mainRef)}}); err != nil {
		t.Errorf("push: %v", err)
	}

	replace(t, first.host, second.host) // the CA file is common to both sides
	if _, err := r.Fetch(t.Context()); err == nil {
		t.Error("fetch with a certificate that the host does not know any more: no error")
	}
	replace(t, first.caller, second.caller)
	if _, err := r.Fetch(t.Context()); err != nil {
		t.Errorf("fetch after the files were replaced: %v", err)
	}
}

// A push without git shows the certificate that is in the files now, and checks the host's.
func TestCertificateOfANativePush(t *testing.T) {
	t.Parallel()
	own := newAuthority(t)
	next, err := own.Client(rpc.Identity{Role: rpc.RoleUser, Name: "next"})
	if err != nil {
		t.Fatal(err)
	}
	s := seededTLS(t, own.host)
	caller := own.caller
	caller.CA = filepath.Join(t.TempDir(), "ca.crt") // the host's is another file
	replaceCA(t, caller, own.caller)
	r := fetched(t, s, shows(caller))
	var mu sync.Mutex
	var shown []string
	s.Intercept(func(w http.ResponseWriter, req *http.Request, next http.Handler) {
		mu.Lock()
		shown = append(shown, req.UserAgent()+" "+req.TLS.PeerCertificates[0].Subject.CommonName)
		mu.Unlock()
		next.ServeHTTP(w, req)
	})
	push := func(content string) {
		t.Helper()
		if err := r.Push(t.Context(), []gitrepo.RefUpdate{edit(t, r, content)}); err != nil {
			t.Fatal(err)
		}
	}
	push("1\n")
	push("2\n")
	replace(t, caller, next)
	push("3\n")
	const first, second = "git/tandem user-tandem", "git/tandem user-next"
	if diff := cmp.Diff([]string{first, first, first, first, second, second}, shown); diff != "" {
		t.Errorf("shown: -want, +got:\n%s", diff)
	}
	replaceCA(t, caller, newAuthority(t).caller)
	if err := r.Push(t.Context(), []gitrepo.RefUpdate{edit(t, r, "4\n")}); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("push to a host of another CA: %v", err)
	}
	if len(shown) != 6 {
		t.Errorf("a host of another CA was asked: %v", shown[6:])
	}
}

func TestCertificatesThatDoNotCount(t *testing.T) {
	t.Parallel()
	own, other := newAuthority(t), newAuthority(t)
	s := seededTLS(t, own.host)
	tests := map[string]struct {
		files tlsfiles.Files
		want  fault.Kind
	}{
		// A refusal in the handshake may show as nothing but a cut connection.
		"NoCertificate":        {tlsfiles.Files{CAFile: own.caller.CA}, fault.Unavailable},
		"CertificateOfAnother": {tlsfiles.Files{CAFile: own.caller.CA, CertFile: other.caller.Cert, KeyFile: other.caller.Key}, fault.Unavailable},
		"HostOfAnother":        {tlsfiles.Files{CAFile: other.caller.CA, CertFile: own.caller.Cert, KeyFile: own.caller.Key}, fault.Unauthorized},
		"HostOfNobodyKnown":    {tlsfiles.Files{CertFile: own.caller.Cert, KeyFile: own.caller.Key}, fault.Unauthorized},
		"KeyOfAnother":         {tlsfiles.Files{CAFile: own.caller.CA, CertFile: own.caller.Cert, KeyFile: other.caller.Key}, fault.Unauthorized},
		"NoPEM":                {tlsfiles.Files{CAFile: own.caller.Key, CertFile: own.caller.Cert, KeyFile: own.caller.Key}, fault.Unauthorized},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, s, func(cfg *gitrepo.Config) { cfg.TLS = tc.files })
			if _, err := r.Fetch(t.Context()); !fault.Is(err, tc.want) {
				t.Errorf("fetch: %v, want %s", err, tc.want)
			}
		})
	}
}

func TestCertificatesNeedHTTPS(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]gitrepo.Config{
		"HTTP":    {URL: "http://git.example.com/app", TLS: tlsfiles.Files{CAFile: "ca.crt"}},
		"SSH":     {URL: "git@example.com:app", TLS: tlsfiles.Files{CAFile: "ca.crt"}},
		"OnlyKey": {URL: "https://git.example.com/app", TLS: tlsfiles.Files{KeyFile: "tls.key"}},
	} {
		cfg.Name, cfg.Dir = "app", t.TempDir()
		if _, err := gitrepo.Open(t.Context(), cfg); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}
