package registry

import "testing"

func TestLinkLocalAddressesAreNotDialled(t *testing.T) {
	t.Parallel()
	for address, refused := range map[string]bool{
		"169.254.169.254:80":          true,
		"[::ffff:169.254.169.254]:80": true,
		"[fe80::1%eth0]:443":          true,
		"[fd00:ec2::254]:80":          true,
		"168.63.129.16:80":            true,
		"10.0.0.1:443":                false,
		"127.0.0.1:5000":              false,
		"[2001:db8::1]:443":           false,
	} {
		if err := refuseLinkLocal("tcp", address, nil); (err != nil) != refused {
			t.Errorf("%s: %v, refused must be %v", address, err, refused)
		}
	}
}

func TestWhoMayKnowCredentials(t *testing.T) {
	t.Parallel()
	tests := []struct {
		registry, server string
		want             bool
	}{
		{"index.docker.io", "auth.docker.io", true},
		{"registry.gitlab.com", "gitlab.com", true},
		{"registry.example.co.uk:5000", "auth.example.co.uk", true},
		{"registry.example.co.uk", "evil.co.uk", false},
		{"ghcr.io", "evilghcr.io", false},
		{"a.s3.amazonaws.com", "b.s3.amazonaws.com", false},
		{"registry.amazonaws.com", "a.s3.amazonaws.com", false},
		{"192.0.2.1:5000", "192.0.2.2", false},
		{"localhost:5000", "localhost.test", false},
		{"registry.test", "auth.other.test", true}, // trusted
	}
	for _, tc := range tests {
		g := &guard{host: tc.registry, trusted: []string{"auth.other.test"}}
		if got := g.mayKnow(tc.server); got != tc.want {
			t.Errorf("credentials of %s at %s: %v, want %v", tc.registry, tc.server, got, tc.want)
		}
	}
}
