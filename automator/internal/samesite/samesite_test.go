package samesite_test

import (
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/samesite"
)

func TestSame(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		a, b string
		want bool
	}{
		"Itself":         {"registry.example.com", "registry.example.com", true},
		"Sibling":        {"auth.docker.io", "index.docker.io", true},
		"Parent":         {"docker.io", "index.docker.io", true},
		"Stranger":       {"auth.docker.io", "index.docker.io.evil.test", false},
		"PublicSuffix":   {"a.co.uk", "b.co.uk", false},
		"Suffix":         {"co.uk", "b.co.uk", false},
		"Services":       {"vault-0.vault.svc", "vault-1.vault.svc", true},
		"FullServices":   {"vault-0.vault.svc.cluster.local", "vault-1.vault.svc.cluster.local", true},
		"OtherNamespace": {"vault.vault.svc.cluster.local", "evil.tenant.svc.cluster.local", false},
		"ShortNamespace": {"vault.vault.svc", "evil.tenant.svc", false},
		"Below":          {"vault.svc.cluster.local", "svc.cluster.local", false},
		"PrivateSuffix":  {"a.github.io", "b.github.io", false},
		"Corporate":      {"auth.corp.internal", "registry.corp.internal", true},
		"TwoLabels":      {"auth.local", "registry.local", false},
		"Address":        {"10.0.0.1", "10.0.0.1", true},
		"OtherAddress":   {"10.0.0.1", "11.0.0.1", false},
		"AddressV6":      {"fd00::1", "fd00::2", false},
		"NameOfOneWord":  {"vault", "vault-0", false},
		"Empty":          {"", "docker.io", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := samesite.Same(tc.a, tc.b); got != tc.want {
				t.Errorf("Same(%q, %q) = %v, want %v", tc.a, tc.b, got, tc.want)
			}
		})
	}
}
