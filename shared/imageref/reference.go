package imageref

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/tandem-cd/tandem/shared/redact"
)

// DefaultRegistry is the canonical host of references that name no registry.
const DefaultRegistry = "index.docker.io"

// Limits of the reference grammar, those of the distribution project.
const (
	maxNameLength   = 255
	maxTagLength    = 128
	maxReferenceLen = maxNameLength + 1 + maxTagLength + 1 + len("sha512:") + 128
)

// The grammar is that of github.com/distribution/reference, which is what
// kubelets parse with, without IPv6 hosts, without upper case in hosts, and with
// the two digest algorithms that registries serve. Being stricter is safe: what
// is refused here is not edited and not accepted from automation.
var (
	hostPattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?$`)
	pathPattern   = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagPattern    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	digestPattern = regexp.MustCompile(`^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)
	imageID       = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Reference names an image: a repository, and optionally a tag and a digest.
type Reference struct {
	// Registry is the canonical host, with its port: "index.docker.io",
	// "localhost:5000".
	Registry string
	// Repository is the full canonical name including the registry:
	// "index.docker.io/library/nginx". Two references name the same repository
	// exactly if these are equal.
	Repository string
	// Tag is empty if the reference has none; no "latest" is implied.
	Tag string
	// Digest is "sha256:..." or "sha512:...", or empty.
	Digest string

	// written is the name as it was written, without tag and digest.
	written string
}

// Parse reads a reference as container runtimes do: a first path component with
// a dot, a colon or the name localhost is the registry, all else is Docker Hub.
func Parse(s string) (Reference, error) {
	r, err := parse(s)
	if err != nil {
		return Reference{}, fmt.Errorf("image reference %s: %w", quote(s), err)
	}
	return r, nil
}

func parse(s string) (Reference, error) {
	if s == "" {
		return Reference{}, errors.New("empty")
	}
	if len(s) > maxReferenceLen {
		return Reference{}, fmt.Errorf("longer than %d characters", maxReferenceLen)
	}
	name, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest && !digestPattern.MatchString(digest) {
		return Reference{}, errors.New("the digest is not sha256: or sha512: with as many lower case hex digits as it has")
	}
	var tag string
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name, tag = name[:colon], name[colon+1:]
		if len(tag) > maxTagLength || !tagPattern.MatchString(tag) {
			return Reference{}, fmt.Errorf("%s is not a tag", quote(tag))
		}
	}
	registry, path := splitName(name)
	switch {
	case imageID.MatchString(name):
		return Reference{}, errors.New("64 hex digits are an image id, not a name")
	case !hostPattern.MatchString(registry):
		return Reference{}, fmt.Errorf("%s is not a registry host in lower case", quote(registry))
	case !pathPattern.MatchString(path):
		return Reference{}, fmt.Errorf("%s is not a repository name", quote(name))
	case len(registry)+1+len(path) > maxNameLength:
		return Reference{}, fmt.Errorf("the name is longer than %d characters", maxNameLength)
	}
	return Reference{Registry: registry, Repository: registry + "/" + path, Tag: tag, Digest: digest, written: name}, nil
}

// splitName divides a name as docker does, and gives Docker Hub its one name.
func splitName(name string) (registry, path string) {
	first, rest, found := strings.Cut(name, "/")
	if !found || (first != "localhost" && !strings.ContainsAny(first, ".:")) {
		first, rest = DefaultRegistry, name
	}
	if first == "docker.io" {
		first = DefaultRegistry
	}
	if first == DefaultRegistry && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	return first, rest
}

// Name returns the canonical repository, registry included, without tag and
// digest. It is what repositories are compared by.
func (r Reference) Name() string { return r.Repository }

// String returns the reference as it was written.
func (r Reference) String() string {
	name := r.written
	if name == "" {
		name = r.Repository
	}
	if r.Tag != "" {
		name += ":" + r.Tag
	}
	if r.Digest != "" {
		name += "@" + r.Digest
	}
	return name
}

// Pin returns a reference to the same repository, written as r writes it, with
// another tag and digest. Either may be empty.
func (r Reference) Pin(tag, digest string) (Reference, error) {
	r.Tag, r.Digest = tag, digest
	return Parse(r.String())
}

// quote renders foreign text for an error message: quoted, of bounded length, and without the password of an address.
func quote(s string) string {
	s = redact.Addresses(s)
	const most = 120
	if len(s) > most {
		return fmt.Sprintf("%.*q...", most, s)
	}
	return fmt.Sprintf("%q", s)
}
