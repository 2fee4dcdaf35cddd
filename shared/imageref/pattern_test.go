package imageref_test

import (
	"testing"

	"github.com/tandem-cd/tandem/shared/imageref"
)

func TestPattern(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		pattern, repository string
		want                bool
	}{
		"One":           {"ghcr.io/acme/web", "ghcr.io/acme/web", true},
		"Another":       {"ghcr.io/acme/web", "ghcr.io/acme/web2", false},
		"Below":         {"ghcr.io/acme/*", "ghcr.io/acme/web/tools", true},
		"Beside":        {"ghcr.io/acme/*", "ghcr.io/acme-evil/web", false},
		"Host":          {"ghcr.io/*", "ghcr.io/acme/web", true},
		"OtherHost":     {"ghcr.io/*", "ghcr.io.evil.example/web", false},
		"Hub":           {"docker.io/*", "index.docker.io/acme/web", true},
		"HubLibrary":    {"nginx", "index.docker.io/library/nginx", true},
		"NothingAtAll":  {"ghcr.io/acme/web", "", false},
		"BelowNotEqual": {"ghcr.io/acme/*", "ghcr.io/acme", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pattern, err := imageref.ParsePattern(tc.pattern)
			if got := pattern.Matches(tc.repository); err != nil || got != tc.want {
				t.Errorf("%q matches %q: %v, %v; want %v", tc.pattern, tc.repository, got, err, tc.want)
			}
		})
	}
	for _, text := range []string{"", "*", "/*", "ghcr.io/acme/web:1", "ghcr.io/acme:1/*", "ghcr.io/*/web", "GHCR.io/acme"} {
		if pattern, err := imageref.ParsePattern(text); err == nil || pattern.Matches("") {
			t.Errorf("ParsePattern(%q) took it", text)
		}
	}
	if (imageref.Pattern{}).Matches("") {
		t.Error("the zero pattern has something")
	}
}
