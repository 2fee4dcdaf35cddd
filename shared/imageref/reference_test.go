package imageref

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/name"
)

const (
	sha   = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	other = "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

func TestParse(t *testing.T) {
	t.Parallel()
	sha512 := "sha512:" + strings.Repeat("0123456789abcdef", 8)
	tests := map[string]struct {
		reason string
		text   string
		want   Reference
	}{
		"OfficialImage": {
			reason: "one component is an official image of Docker Hub",
			text:   "nginx",
			want:   Reference{Registry: "index.docker.io", Repository: "index.docker.io/library/nginx"},
		},
		"HubUser": {
			reason: "a first component without dot, colon or localhost is no host",
			text:   "acme/api:v1",
			want:   Reference{Registry: "index.docker.io", Repository: "index.docker.io/acme/api", Tag: "v1"},
		},
		"HubAlias": {
			reason: "docker.io is Docker Hub, official images included",
			text:   "docker.io/nginx:1.29",
			want:   Reference{Registry: "index.docker.io", Repository: "index.docker.io/library/nginx", Tag: "1.29"},
		},
		"HubCanonical": {
			reason: "the canonical name reads as itself",
			text:   "index.docker.io/library/nginx",
			want:   Reference{Registry: "index.docker.io", Repository: "index.docker.io/library/nginx"},
		},
		"Port": {
			reason: "a colon before the last slash is a port and no tag",
			text:   "localhost:5000/x",
			want:   Reference{Registry: "localhost:5000", Repository: "localhost:5000/x"},
		},
		"PortAndTag": {
			reason: "a port and a tag live together",
			text:   "registry.example.com:8443/a/b/c:v1.2.3",
			want:   Reference{Registry: "registry.example.com:8443", Repository: "registry.example.com:8443/a/b/c", Tag: "v1.2.3"},
		},
		"LocalhostWithoutPort": {
			reason: "localhost is a host by its name alone",
			text:   "localhost/x:1",
			want:   Reference{Registry: "localhost", Repository: "localhost/x", Tag: "1"},
		},
		"ColonWithoutPort": {
			reason: "without a slash a colon starts a tag, even if digits follow",
			text:   "localhost:5000",
			want:   Reference{Registry: "index.docker.io", Repository: "index.docker.io/library/localhost", Tag: "5000"},
		},
		"Digest": {
			reason: "a digest alone",
			text:   "ghcr.io/acme/api@" + sha,
			want:   Reference{Registry: "ghcr.io", Repository: "ghcr.io/acme/api", Digest: sha},
		},
		"TagAndDigest": {
			reason: "the pinned form keeps both",
			text:   "ghcr.io/acme/api:1.4.2@" + sha,
			want:   Reference{Registry: "ghcr.io", Repository: "ghcr.io/acme/api", Tag: "1.4.2", Digest: sha},
		},
		"SHA512": {
			reason: "the other registered algorithm",
			text:   "ghcr.io/acme/api@" + sha512,
			want:   Reference{Registry: "ghcr.io", Repository: "ghcr.io/acme/api", Digest: sha512},
		},
		"Separators": {
			reason: "all separators that a path component may have",
			text:   "ghcr.io/a.b/c__d/e---f_g:V_1.-x",
			want:   Reference{Registry: "ghcr.io", Repository: "ghcr.io/a.b/c__d/e---f_g", Tag: "V_1.-x"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse(tc.text)
			if err != nil {
				t.Fatalf("%s: Parse(%q): %v", tc.reason, tc.text, err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreUnexported(Reference{})); diff != "" {
				t.Errorf("%s: Parse(%q): -want, +got:\n%s", tc.reason, tc.text, diff)
			}
			if got.String() != tc.text {
				t.Errorf("String() = %q, want the text as written, %q", got.String(), tc.text)
			}
			if got.Name() != tc.want.Repository {
				t.Errorf("Name() = %q, want %q", got.Name(), tc.want.Repository)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		text   string
	}{
		"Empty":           {"there is nothing", ""},
		"Space":           {"a space ends a scalar", "nginx 1"},
		"Newline":         {"a newline would split the line", "nginx:1\n"},
		"UpperCase":       {"repositories are lower case", "ghcr.io/Acme/api"},
		"UpperCaseHost":   {"runtimes treat it as another host than the lower case one", "GHCR.io/acme/api"},
		"UpperCaseUser":   {"docker takes it for a host, ggcr for a user", "Foo/bar"},
		"EmptyTag":        {"a colon with nothing behind", "nginx:"},
		"TagStartsDot":    {"tags start with a word character", "nginx:.1"},
		"TagTooLong":      {"tags have at most 128 characters", "nginx:" + strings.Repeat("a", 129)},
		"ShortDigest":     {"a truncated digest names nothing", "nginx@sha256:abc"},
		"UpperDigest":     {"digests are lower case", "nginx@sha256:" + strings.Repeat("A", 64)},
		"UnknownDigest":   {"no registry serves it", "nginx@md5:" + strings.Repeat("a", 32)},
		"TwoDigests":      {"one too many", "nginx@" + sha + "@" + sha},
		"EmptyDigest":     {"an at sign with nothing behind", "nginx@"},
		"EmptyComponent":  {"two slashes", "ghcr.io//api"},
		"LeadingSlash":    {"no host", "/api"},
		"TrailingSlash":   {"no name", "ghcr.io/"},
		"HostOnly":        {"a host and a slash only", "localhost:5000/"},
		"LongPort":        {"no such port", "localhost:123456/x"},
		"WordPort":        {"ports are digits", "localhost:http/x"},
		"ImageID":         {"64 hex digits are an image id for docker", strings.Repeat("a", 64)},
		"TooLong":         {"names have at most 255 characters", strings.Repeat("a", 300)},
		"Template":        {"an unexpanded variable", "${IMAGE}"},
		"HelmTemplate":    {"an unrendered template", "{{ .Values.image }}"},
		"URL":             {"a scheme is no part of a reference", "https://ghcr.io/acme/api"},
		"IPv6":            {"brackets open a list in YAML", "[::1]:5000/x"},
		"NotASCII":        {"letters of other alphabets are no names", "ghcr.io/аcme/api"},
		"TripleUnderline": {"only one or two", "ghcr.io/a___b"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := Parse(tc.text); err == nil {
				t.Errorf("%s: Parse(%q) = %+v, want an error", tc.reason, tc.text, got)
			}
		})
	}
}

func TestParseRepeatsNoPassword(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"https://ann:hunter2@ghcr.io/acme/web", "ann:hunter2@ghcr.io/acme/web"} {
		if _, err := Parse(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Parse(%q): got %v, want an error without the password", text, err)
		}
	}
}

func TestReferencePin(t *testing.T) {
	t.Parallel()
	r, err := Parse("docker.io/nginx:1")
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := r.Pin("1.29", sha)
	if err != nil {
		t.Fatal(err)
	}
	if want := "docker.io/nginx:1.29@" + sha; pinned.String() != want {
		t.Errorf("Pin(...) = %s, want the name as it was written: %s", pinned, want)
	}
	if _, err := r.Pin("not a tag", ""); err == nil {
		t.Error("Pin accepted a tag with spaces")
	}
}

// FuzzParse holds the parser against the one that talks to registries: what we
// take, it takes too, and both mean the same repository, tag and digest.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"nginx", "acme/api:v1", "docker.io/nginx", "localhost:5000/x", "localhost/x", "a.b/c/d:e@" + sha,
		"127.0.0.1:80/a", "Foo/bar", "a/b:c/d", "index.docker.io/nginx@" + sha, "10:5/a", "a@b", ":", "@",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		if r.String() != text {
			t.Fatalf("Parse(%q).String() = %q", text, r.String())
		}
		for i := range len(text) {
			if !isReferenceByte(text[i]) {
				t.Fatalf("Parse accepted %q, which has the byte %q", text, text[i])
			}
		}
		canonical, err := Parse(Reference{Repository: r.Repository, Tag: r.Tag, Digest: r.Digest}.String())
		if err != nil || canonical.Name() != r.Name() || canonical.Tag != r.Tag || canonical.Digest != r.Digest {
			t.Fatalf("the canonical form of %q reads as %+v, %v; want the same image as %+v", text, canonical, err, r)
		}
		compareWithRegistryClient(t, text, r)
	})
}

func compareWithRegistryClient(t *testing.T, text string, r Reference) {
	t.Helper()
	ref, err := name.ParseReference(text, name.WithDefaultTag("none-given"))
	if err != nil {
		t.Fatalf("Parse accepted %q, the registry client does not: %v", text, err)
	}
	if ref.Context().Name() != r.Name() {
		t.Fatalf("Parse(%q).Name() = %s, the registry client reads %s", text, r.Name(), ref.Context().Name())
	}
	switch ref := ref.(type) {
	case name.Tag:
		if r.Digest != "" || (r.Tag != ref.TagStr() && ref.TagStr() != "none-given") {
			t.Fatalf("Parse(%q) = %+v, the registry client reads the tag %s", text, r, ref.TagStr())
		}
	case name.Digest:
		if r.Digest != ref.DigestStr() {
			t.Fatalf("Parse(%q) = %+v, the registry client reads the digest %s", text, r, ref.DigestStr())
		}
	}
}
