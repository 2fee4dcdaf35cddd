package policy

import (
	"math"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// versions orders by semantic version.
type versions struct {
	text        string
	constraints *semver.Constraints
	pre         bool // whether pre-releases are taken
	asked       bool // whether they are, in the range or not
	anyNumbers  bool
}

// hasPreReleases matches a range that names a pre-release.
var hasPreReleases = regexp.MustCompile(`[0-9xX*]-[0-9A-Za-z]`)

func newVersions(c *Config, faults *Faults) versions {
	v := versions{text: c.Semver, asked: c.PreReleases, anyNumbers: c.Precision == "any"}
	v.pre = v.asked || hasPreReleases.MatchString(c.Semver)
	if c.Precision != "" && c.Precision != "keep" && c.Precision != "any" {
		faults.addf("precision", "%.60q is not one of keep (1.27 becomes 1.28, never 1.27.3), any", c.Precision)
	}
	if c.Semver == "" || len(c.Semver) > MaxText {
		return v
	}
	constraints, err := semver.NewConstraint(c.Semver)
	if err != nil {
		faults.addf("semver", `%q is not a range of versions; write one such as ">=1.2.0 <2.0.0", "^1.2" or "1.x"`, c.Semver)
		return v
	}
	constraints.IncludePrerelease = v.asked
	v.constraints = constraints
	return v
}

func (v versions) String() string {
	if v.text == "" {
		return "newest version"
	}
	return "semver " + v.text
}

func (v versions) place(e *entry) Rule {
	parseVersion(e)
	if e.version == nil {
		return RuleVersion
	}
	return ""
}

func (v versions) alike(e, current *entry) Rule {
	switch {
	case e.variant != current.variant:
		return RuleVariant
	case e.version.Prerelease() != "" && !v.pre:
		return RulePreRelease
	case !v.inRange(e):
		return RuleRange
	case !v.anyNumbers && current.precision != 0 && e.precision != current.precision:
		return RulePrecision
	}
	return ""
}

func (v versions) compare(a, b *entry) int { return a.version.Compare(b.version) }

// inRange tells whether the policy takes a version. A pre-release has to be in
// the range with its release, or be of a release that the range names with a
// pre-release: ">=1.0.0-0 <2.0.0" takes 1.5.0-rc.1 and not 2.0.0-rc.1, although
// that is lower than 2.0.0.
func (v versions) inRange(e *entry) bool {
	if v.constraints == nil {
		return true
	}
	if !v.constraints.Check(e.version) {
		return false
	}
	if e.version.Prerelease() == "" {
		return true
	}
	release := semver.New(e.version.Major(), e.version.Minor(), e.version.Patch(), "", "")
	return v.constraints.Check(release) || strings.Contains(v.text, release.String()+"-")
}

// parseVersion takes the value of a tag apart; the version stays nil if it is none.
func parseVersion(e *entry) {
	rest, prefixed := strings.CutPrefix(e.value, "v")
	var numbers [3]uint64
	precision := 0
	for precision < len(numbers) {
		number, after, ok := cutNumber(rest)
		if !ok {
			return
		}
		numbers[precision] = number
		precision++
		if rest = after; !strings.HasPrefix(rest, ".") {
			break
		}
		rest = rest[1:]
		if precision == len(numbers) { // a fourth number, or a dot at the end
			return
		}
	}
	rest, _, _ = strings.Cut(rest, "_") // build metadata
	rest, _, _ = strings.Cut(rest, "+") // likewise, where it was captured from a name
	if rest != "" && rest[0] != '-' {
		return
	}
	pre, variant := splitSuffix(strings.TrimPrefix(rest, "-"))
	e.version = semver.New(numbers[0], numbers[1], numbers[2], pre, "")
	e.precision, e.prefixed, e.variant = precision, prefixed, variant
}

// cutNumber cuts a decimal number that fits 64 bits. Leading zeros, as dates have
// them, are fine.
func cutNumber(text string) (number uint64, rest string, ok bool) {
	end := digits(text)
	for i := range end {
		digit := uint64(text[i] - '0')
		if number > (math.MaxUint64-digit)/10 {
			return 0, text, false
		}
		number = number*10 + digit
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

// release returns the version that pre-releases of the same date are compared as.
func release(pre string) *semver.Version { return semver.New(0, 0, 0, pre, "") }
