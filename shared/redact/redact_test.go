package redact_test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/shared/redact"
)

func TestText(t *testing.T) {
	t.Parallel()
	secrets := &redact.Secrets{}
	secrets.Add("tok/en+with=signs", "part", "part of more\n", "abc", "")
	cases := map[string]struct {
		reason     string
		text, want string
	}{
		"Raw":        {"as it is", "denied: tok/en+with=signs!", "denied: [redacted]!"},
		"Longest":    {"a value that holds another goes as one", "x part of more x part x", "x [redacted] x [redacted] x"},
		"Query":      {"as an address writes it", "/v2/?t=tok%2Fen%2Bwith%3Dsigns", "/v2/?t=[redacted]"},
		"LowerQuery": {"as other programs write it", "/v2/?t=tok%2fen%2bwith%3dsigns", "/v2/?t=[redacted]"},
		"Short":      {"too short to be looked for", "abc", "abc"},
		"User":       {"a token as the user of a web address", "unable to access 'https://ghp_x@host/a.git/'", "unable to access 'https://[redacted]@host/a.git/'"},
		"Password":   {"a password of any address", "proxy socks5://ann:pw@host:1080 refused", "proxy socks5://ann:[redacted]@host:1080 refused"},
		"Signed":     {"the query of a web address", `GET "https://s3/x?X-Amz-Signature=12&y=z": 403`, `GET "https://s3/x?[redacted]": 403`},
		"Bare":       {"a user before a host", "ann:pw@ghcr.io:443/acme/web", "ann:[redacted]@ghcr.io:443/acme/web"},
		"SSHUser":    {"git@ is no secret", "ssh://git@host/a.git", "ssh://git@host/a.git"},
		"Image":      {"a digest is no password", "ghcr.io/a/b:1.0@sha256:00", "ghcr.io/a/b:1.0@sha256:00"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := secrets.Text(tc.text); got != tc.want {
				t.Errorf("%s: Text(%q): got %q, want %q", tc.reason, tc.text, got, tc.want)
			}
		})
	}
}

// TestEveryForm holds that a value is found however a peer writes it, and wherever it stands.
func TestEveryForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringMatching(`[!-~]{8,40}`).Draw(t, "value")
		before, after := rapid.StringMatching(`[a-z:]{0,9}`).Draw(t, "before"), rapid.StringMatching(`[a-z:]{0,9}`).Draw(t, "after")
		secrets := &redact.Secrets{}
		secrets.Add(value)
		for how, written := range map[string]string{
			"raw": value, "quoted": strconv.Quote(value), "query": url.QueryEscape(value), "path": url.PathEscape(value),
			"base64":     base64.StdEncoding.EncodeToString([]byte(before + value + after)),
			"base64 raw": base64.RawStdEncoding.EncodeToString([]byte(before + value + after)),
			"base64 url": base64.URLEncoding.EncodeToString([]byte(before + value + after)),
		} {
			if got := secrets.Text("it says " + written + " there"); !strings.Contains(got, redact.Mark) {
				t.Fatalf("%s: %q is still in %q", how, value, got)
			}
		}
	})
}

func TestTheNewestValuesCount(t *testing.T) {
	t.Parallel()
	secrets := &redact.Secrets{}
	for i := range 10_000 {
		secrets.Add(fmt.Sprintf("token-%d", i))
	}
	if got := secrets.Text("token-9999"); got != redact.Mark {
		t.Errorf("the newest: got %q", got)
	}
	if got := secrets.Text("token-0123"); got != "token-0123" {
		t.Errorf("one of long ago: got %q, and everything is kept for ever", got)
	}
}

func TestProxies(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://ann:pr%40xyword@proxy:3128")
	if got := redact.New().Text("proxy said: pr@xyword"); got != "proxy said: [redacted]" {
		t.Errorf("Text: got %q", got)
	}
}

func TestNil(t *testing.T) {
	t.Parallel()
	var secrets *redact.Secrets
	if got := secrets.Text("https://u:p@h/"); got != "https://[redacted]@h/" {
		t.Errorf("Text: got %q", got)
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        "",
		" two\r\n\tlines ":        "two lines",
		"red \x1b[31m\x7f\u0085!": "red [31m !",
		"a\u00a0\u2028b":          "a b",
		"exactly ten":             "exactly te...",
		"123456789é":              "123456789...",
	} {
		if got := redact.OneLine(text, 10); got != want {
			t.Errorf("OneLine(%q, 10): got %q, want %q", text, got, want)
		}
	}
}
