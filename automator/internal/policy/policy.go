package policy

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Config is a policy as it is written in a pipeline file.
type Config struct {
	// Semver is a range of versions. Empty means every version but pre-releases.
	Semver string
	// Allow lists expressions of which a tag must match one, if there are any.
	Allow []string
	// Deny lists expressions of which a tag must match none. It wins over Allow.
	Deny []string
}

// Policy is a checked [Config]. The zero Policy takes the newest version.
type Policy struct {
	text        string
	constraints *semver.Constraints
	allow, deny []*regexp.Regexp
}

// New checks a policy. The error says which part of it is wrong.
func New(c Config) (Policy, error) {
	constraints, err := parseRange(c.Semver)
	if err != nil {
		return Policy{}, err
	}
	allow, err := parseExpressions("allow", c.Allow)
	if err != nil {
		return Policy{}, err
	}
	deny, err := parseExpressions("deny", c.Deny)
	if err != nil {
		return Policy{}, err
	}
	return Policy{text: c.Semver, constraints: constraints, allow: allow, deny: deny}, nil
}

func parseRange(text string) (*semver.Constraints, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // No range is what there is then.
	}
	constraints, err := semver.NewConstraint(text)
	if err != nil {
		return nil, fmt.Errorf(`%q is not a range of versions; write one such as ">=1.2.0 <2.0.0", "^1.2" or "1.x"`, text)
	}
	return constraints, nil
}

func parseExpressions(list string, texts []string) ([]*regexp.Regexp, error) {
	var expressions []*regexp.Regexp
	for _, text := range texts {
		expression, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a regular expression: %w", list, text, err)
		}
		expressions = append(expressions, expression)
	}
	return expressions, nil
}

// String returns the range, in words if there is none.
func (p Policy) String() string {
	if p.text == "" {
		return "newest version"
	}
	return "semver " + p.text
}

// inRange tells whether the policy takes a version. A pre-release has to be in
// the range with its release, or be of a release that the range names with a
// pre-release: ">=1.0.0-0 <2.0.0" takes 1.5.0-rc.1 and not 2.0.0-rc.1, although
// that is lower than 2.0.0.
func (p Policy) inRange(t *tag) bool {
	if p.constraints == nil {
		return true
	}
	if !p.constraints.Check(t.version) {
		return false
	}
	if t.version.Prerelease() == "" {
		return true
	}
	release := semver.New(t.version.Major(), t.version.Minor(), t.version.Patch(), "", "")
	return p.constraints.Check(release) || strings.Contains(p.text, release.String()+"-")
}

// hasPreReleases matches a range that names a pre-release.
var hasPreReleases = regexp.MustCompile(`[0-9xX*]-[0-9A-Za-z]`)

func (p Policy) takesPreReleases() bool { return hasPreReleases.MatchString(p.text) }

func matchAny(expressions []*regexp.Regexp, text string) *regexp.Regexp {
	for _, expression := range expressions {
		if expression.MatchString(text) {
			return expression
		}
	}
	return nil
}
