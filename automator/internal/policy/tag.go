package policy

import (
	"math"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// maxTagLength is the longest tag that a registry may have.
const maxTagLength = 128

// tag is a tag taken apart.
type tag struct {
	text string
	// version holds the numbers and the pre-release; nil if this is no version.
	version *semver.Version
	// precision counts the numbers that the tag has.
	precision int
	prefixed  bool
	variant   string
	build     string
}

func parseTag(text string) tag {
	t := tag{text: text}
	rest, prefixed := strings.CutPrefix(text, "v")
	var numbers [3]uint64
	for t.precision < len(numbers) {
		number, after, ok := cutNumber(rest)
		if !ok {
			return tag{text: text}
		}
		numbers[t.precision] = number
		t.precision++
		if rest = after; !strings.HasPrefix(rest, ".") {
			break
		}
		rest = rest[1:]
		if t.precision == len(numbers) { // a fourth number, or a dot at the end
			return tag{text: text}
		}
	}
	if rest, t.build, _ = strings.Cut(rest, "_"); rest != "" && rest[0] != '-' {
		return tag{text: text}
	}
	pre, variant := splitSuffix(strings.TrimPrefix(rest, "-"))
	t.version = semver.New(numbers[0], numbers[1], numbers[2], pre, "")
	t.variant, t.prefixed = variant, prefixed
	return t
}

// cutNumber cuts a decimal number that fits 64 bits. Leading zeros, as dates have
// them, are fine.
func cutNumber(text string) (number uint64, rest string, ok bool) {
	end := 0
	for end < len(text) && '0' <= text[end] && text[end] <= '9' {
		digit := uint64(text[end] - '0')
		if number > (math.MaxUint64-digit)/10 {
			return 0, text, false
		}
		number = number*10 + digit
		end++
	}
	return number, text[end:], end > 0
}

// splitSuffix divides what follows the numbers into a pre-release and a variant.
// The pre-release ends where the first part starts that is neither a number nor a
// word for one.
func splitSuffix(suffix string) (pre, variant string) {
	if suffix == "" {
		return "", ""
	}
	end := 0
	for end < len(suffix) {
		part, _, more := strings.Cut(suffix[end:], "-")
		if !isPreRelease(part) {
			break
		}
		end += len(part)
		if more {
			end++
		}
	}
	return strings.TrimSuffix(suffix[:end], "-"), suffix[end:]
}

// isPreRelease tells whether a part of a suffix, such as "rc.1", "beta2" or "5",
// is of a pre-release.
func isPreRelease(part string) bool {
	for identifier := range strings.SplitSeq(part, ".") {
		word := strings.ToLower(strings.TrimRight(identifier, "0123456789"))
		if identifier == "" || !preReleaseWord(word) {
			return false
		}
	}
	return true
}

func preReleaseWord(word string) bool {
	switch word {
	case "", // a number
		"a", "alpha", "b", "beta", "c", "cr", "rc", "m", "milestone", "pre", "preview", "prerelease",
		"dev", "devel", "snapshot", "nightly", "canary", "next", "ea", "test", "testing", "unstable", "experimental":
		return true
	}
	return false
}

// isSignature tells whether a tag holds a signature, an attestation or an SBOM of
// another image: cosign and the referrers of older registries use these names.
func isSignature(text string) bool {
	return strings.HasPrefix(text, "sha256-") || strings.HasPrefix(text, "sha512-")
}

// isTag tells whether a registry may have a tag of this name at all.
func isTag(text string) bool {
	if text == "" || len(text) > maxTagLength || text[0] == '.' || text[0] == '-' {
		return false
	}
	for i := range len(text) {
		c := text[i]
		word := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
		if !word && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// compare orders tags by version. Tags of one version are ordered by what keeps
// the tag like the current one, then by their text, so that the order is total.
func compare(a, b, current *tag) int {
	if c := a.version.Compare(b.version); c != 0 {
		return c
	}
	if a.precision != b.precision {
		return a.precision - b.precision
	}
	if a.prefixed != b.prefixed {
		if a.prefixed == current.prefixed {
			return 1
		}
		return -1
	}
	return strings.Compare(a.text, b.text)
}

// Compare orders two tags by version: negative if a is lower than b. ok is false
// if they cannot be compared, because one is no version or they are of different
// variants.
func Compare(a, b string) (order int, ok bool) {
	x, y := parseTag(a), parseTag(b)
	if x.version == nil || y.version == nil || x.variant != y.variant {
		return 0, false
	}
	return x.version.Compare(y.version), true
}
