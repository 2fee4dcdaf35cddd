package enroll_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/synchronizer/internal/enroll"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
)

func publicKey(t *testing.T, r *x509.CertificateRequest) *ecdsa.PublicKey {
	t.Helper()
	key, ok := r.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		t.Errorf("the request is for a %T", r.PublicKey)
		return nil
	}
	return key
}

// contract is what every vault promises.
func contract(t *testing.T, vault, again enroll.Vault) {
	t.Helper()
	ctx := t.Context()
	empty, err := vault.Load(ctx)
	if err != nil || empty.Key != nil || empty.Certificate != nil {
		t.Fatalf("Load of an empty vault: %+v, %v", empty, err)
	}
	authority := newAuthority(t)
	key, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := vault.Save(ctx, enroll.Kept{Key: key, Token: "hash", Version: empty.Version}); err != nil {
		t.Fatal(err)
	}
	first, err := vault.Load(ctx)
	if err != nil || !first.Key.Equal(key) || first.Token != "hash" || first.Certificate != nil {
		t.Fatalf("Load of a key: %+v, %v", first, err)
	}
	cert := authority.issue(t, &key.PublicKey, rpc.Identity{Role: rpc.RoleCluster, Name: cluster}, time.Now(), time.Hour)
	first.Certificate, first.CA = cert, []*x509.Certificate{authority.cert}
	if err := vault.Save(ctx, first); err != nil {
		t.Fatal(err)
	}
	if err := vault.Save(ctx, first); !fault.Is(err, fault.Conflict) {
		t.Errorf("Save over what somebody else saved: %v, want a conflict", err)
	}
	second, err := again.Load(ctx)
	if err != nil || !second.Certificate.Equal(cert) || len(second.CA) != 1 || !second.CA[0].Equal(authority.cert) {
		t.Fatalf("Load in another process: %+v, %v", second, err)
	}
	other, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	second.Key = other
	if err := again.Save(ctx, second); err != nil {
		t.Fatal(err)
	}
	if third, err := vault.Load(ctx); err != nil || third.Certificate != nil || !third.Key.Equal(other) {
		t.Errorf("a certificate for another key counts: %+v, %v", third, err)
	}
}

func TestDir(t *testing.T) {
	t.Parallel()
	dir := enroll.Dir(filepath.Join(t.TempDir(), "made", "when", "needed"))
	contract(t, dir, dir)
	entries, err := os.ReadDir(string(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; others may read it", entry.Name(), info.Mode(), err)
		}
	}
	if err := os.WriteFile(filepath.Join(string(dir), "tls.key"), []byte("cut off"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Load(t.Context()); err == nil {
		t.Error("Load of a damaged key: no error")
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	client := kubetest.Client(t, kubetest.Config(t))
	namespace := kubetest.Namespace(t, client)
	contract(t, enroll.NewSecret(client, namespace, "identity"), enroll.NewSecret(client, namespace, "identity"))
}
