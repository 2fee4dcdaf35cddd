package vault_test

import (
	"net"
	"net/http"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/vault"
	"github.com/tandem-cd/tandem/shared/fault"
)

// TestRedirectsInACluster goes by the full names of Services, all of which answer here: where it does not follow, nobody asks.
func TestRedirectsInACluster(t *testing.T) {
	t.Parallel()
	const address = "http://vault.vault.svc.cluster.local:8200"
	for name, tc := range map[string]struct {
		address, to string
		follows     bool
	}{
		"ActiveNode":     {address, "http://vault-1.vault.svc.cluster.local:8200", true},
		"OtherNamespace": {address, "http://evil.tenant.svc.cluster.local:8200", false},
		"OtherPort":      {address, "http://vault-1.vault.svc.cluster.local:8201", false},
		"StandardPort":   {"http://vault.vault.svc.cluster.local", "http://vault-1.vault.svc.cluster.local:80", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(cfg *vault.Config) { cfg.Address = tc.address })
			node := inMemory(t, f.fake)
			standby := inMemory(t, http.RedirectHandler(tc.to+"/v1/"+loginAt, http.StatusTemporaryRedirect))
			first := true
			f.DialWith(func() (net.Conn, error) {
				if first {
					first = false
					return standby()
				}
				return node()
			})
			_, err := f.source(t, vault.Secret{Path: path}).Credentials(t.Context())
			if (err == nil) != tc.follows || !tc.follows && (!fault.Is(err, fault.Unauthorized) || f.fake.Asked(loginAt) > 0) {
				t.Errorf("Credentials: %v, want it followed: %v", err, tc.follows)
			}
		})
	}
}
