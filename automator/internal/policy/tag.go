package policy

import (
	"cmp"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
)

// maxTagLength is the longest tag that a registry may have.
const maxTagLength = 128

// Tag is what is known of a tag. Only its name has to be.
type Tag struct {
	Name string
	// Digest is what it points to; empty if nobody asked.
	Digest string
	// Created is when the image says that it was made; zero if it does not say, or nobody looked.
	Created time.Time
	// Pushed is when the tag was first seen to point where it does; zero if that is not known.
	Pushed time.Time
	// Platforms are those that the image is there for, such as "linux/arm64/v8".
	Platforms []string
	// Inspected is whether somebody looked at the image, so that Created and Platforms are all that it says.
	Inspected bool
	// Problem is why looking at it failed; empty if it did not.
	Problem string
}

// entry is a tag with its place in the order.
type entry struct {
	*Tag

	rule   Rule
	placed bool
	value  string // what of the name is ordered

	// Versions.
	version   *semver.Version
	precision int // how many numbers
	prefixed  bool
	variant   string // of calendar versions too

	number   number
	calendar [maxCalendarParts]uint64
	time     time.Time
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

// natural orders texts the way people do: runs of digits by their number, the rest by bytes. It is total.
func natural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		digitsX, digitsY := digits(x), digits(y)
		if digitsX > 0 && digitsY > 0 {
			if c := compareDigits(x[:digitsX], y[:digitsY]); c != 0 {
				return c
			}
			x, y = x[digitsX:], y[digitsY:]
			continue
		}
		if c := cmp.Compare(x[0], y[0]); c != 0 {
			return c
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

// digits counts the decimal digits that a text begins with.
func digits(text string) int {
	end := 0
	for end < len(text) && '0' <= text[end] && text[end] <= '9' {
		end++
	}
	return end
}

// compareDigits orders whole numbers of any length.
func compareDigits(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
