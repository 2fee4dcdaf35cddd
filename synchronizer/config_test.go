package synchronizer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/synchronizer"
	"github.com/tandem-cd/tandem/synchronizer/internal/tenancy"
)

// least is a configuration with what has no default.
const least = `
cluster: dev
automator: {address: "automator:9443"}
enrollment: {secret: {namespace: tandem-system, name: identity}}
stateDir: /state
trust: {mode: relay}
`

func load(t *testing.T, text string) (synchronizer.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "synchronizer.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return synchronizer.Load(path)
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	cfg, err := load(t, least)
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Replica != host || cfg.Quotas.Objects != tenancy.DefaultObjects || cfg.Quotas.Bytes != tenancy.DefaultBytes {
		t.Errorf("replica %q, quotas %+v; want the host's name and the named defaults", cfg.Replica, cfg.Quotas)
	}
}

func TestRefusedConfigurations(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ reason, add, want string }{
		"HalfALease":  {"A Lease has two names.", "lease: {name: a}", "lease: namespace and name are both needed"},
		"ShortLease":  {"An API server needs time to answer.", "lease: {namespace: a, name: b, duration: 1s}", "lease.duration: 1s is not between"},
		"LongLease":   {"Nobody works for so long after a crash.", "lease: {namespace: a, name: b, duration: 1h}", "lease.duration: 1h0m0s is not between"},
		"Quota":       {"More objects are never rendered.", "quotas: {namespaces: {shop: {objects: 1000000}}}", "quotas.namespaces.shop.objects"},
		"UnknownKey":  {"A key that is misspelt must not be ignored.", "quotas: {object: 1}", "unknown key object"},
		"NoDirection": {"A dependency has two sides.", "dependencies: [{namespaces: [shop]}]", "dependencies[0]"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := load(t, least+tc.add+"\n"); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nLoad(...): got %v, want an error with %q", tc.reason, err, tc.want)
			}
		})
	}
	alone := strings.Replace(least, "secret: {namespace: tandem-system, name: identity}", "dir: /identity", 1)
	if _, err := load(t, alone); err != nil {
		t.Errorf("an identity in a folder, without a Lease: %v", err)
	}
	if _, err := load(t, alone+"lease: {namespace: a, name: b}\n"); err == nil {
		t.Error("an identity in a folder counts for one replica only, and with a Lease there may be several")
	}
}
