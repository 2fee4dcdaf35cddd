package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Limits on a policy. They are far above what a person writes.
const (
	// MaxExpression bounds a regular expression, in bytes. Expressions are RE2: a match takes time in proportion to the tag.
	MaxExpression = 512
	// MaxExpressions bounds the expressions of allow, and of deny.
	MaxExpressions = 32
	// MaxText bounds any other part of a policy, in bytes.
	MaxText = 512
)

// Config is a policy as it is written in a pipeline file. At most one of Semver, Newest, Numeric, Lexical, Calver, Follow
// and Pin says how tags are ordered; without any of them the newest version wins.
type Config struct {
	// Semver is a range of versions.
	Semver string
	// Newest orders by time: "created" is what the image says of itself, "pushed" is when it was seen first.
	Newest string
	// Numeric orders by number, of any length and without rounding: "asc" takes the highest, "desc" the lowest.
	Numeric string
	// Lexical orders by bytes: "asc" takes the last, "desc" the first.
	Lexical string
	// Calver orders by calendar version: a format such as "YYYY.0M.0D" or "YY.MM.MICRO".
	Calver string
	// Follow is a tag that moves; the image gets whatever it points to.
	Follow string
	// Pin is the one tag that is taken, older or not; "1.4.2" or "1.4.2@sha256:...".
	Pin string

	// Match is an expression that a tag must match, and Extract what of it is ordered, such as "$1" or "$version"; empty
	// means the group value, else the first group, else the whole tag.
	Match, Extract string
	// PreReleases takes pre-releases, also where the range names none.
	PreReleases bool
	// Precision is "keep" (the default: 1.27 never becomes 1.27.3) or "any".
	Precision string
	// Allow lists expressions of which a tag must match one, if there are any.
	Allow []string
	// Deny lists expressions of which a tag must match none. It wins over Allow.
	Deny []string
	// Platform is what an image must be there for, such as "linux/amd64" or "linux/arm64/v8".
	Platform string
	// MinAge is how long a tag must have been seen, such as "10m", "36h" or "3d".
	MinAge string
	// Downgrade takes what is first in the order even if it is below the current tag.
	Downgrade bool
	// Hold keeps what is there, and says why.
	Hold string
}

// Fault is what is wrong with one part of a [Config].
type Fault struct {
	// Key is the part as a pipeline file calls it, such as "semver"; Index counts the items of allow and deny.
	Key   string
	Index int
	// Message says what is wrong and what to write.
	Message string
}

// Faults are all that is wrong with a [Config].
type Faults []Fault //nolint:errname // people read them, and New names the type

// Error returns one fault on each line.
func (f Faults) Error() string {
	lines := make([]string, 0, len(f))
	for _, fault := range f {
		lines = append(lines, fault.Key+": "+fault.Message)
	}
	return strings.Join(lines, "\n")
}

func (f *Faults) addf(key, format string, args ...any) {
	*f = append(*f, Fault{Key: key, Message: fmt.Sprintf(format, args...)})
}

// Schemes are the keys that say how tags are ordered.
func Schemes() []string {
	return []string{"semver", "newest", "numeric", "lexical", "calver", "follow", "pin"}
}

// scheme returns the values of the keys of [Schemes], in their order.
func (c *Config) schemes() []string {
	return []string{c.Semver, c.Newest, c.Numeric, c.Lexical, c.Calver, c.Follow, c.Pin}
}

// New checks a policy. The error is of type [Faults].
func New(c Config) (Policy, error) {
	var faults Faults
	p := Policy{downgrade: c.Downgrade, hold: c.Hold}
	p.order = newOrder(&c, &faults)
	p.match, p.extract = newMatch(&c, &faults)
	p.allow = newExpressions("allow", c.Allow, &faults)
	p.deny = newExpressions("deny", c.Deny, &faults)
	p.platform = newPlatform(c.Platform, &faults)
	p.minAge = newAge(c.MinAge, &faults)
	if len(c.Hold) > MaxText {
		faults.addf("hold", "longer than %d bytes", MaxText)
	}
	if len(faults) > 0 {
		return Policy{}, faults
	}
	return p, nil
}

// newOrder finds the one order of a policy.
func newOrder(c *Config, faults *Faults) order {
	chosen := ""
	for i, value := range c.schemes() {
		key := Schemes()[i]
		switch {
		case value == "":
		case len(value) > MaxText:
			faults.addf(key, "longer than %d bytes", MaxText)
		case chosen != "":
			faults.addf(key, "there is %s already; a policy has one of %s", chosen, strings.Join(Schemes(), ", "))
		default:
			chosen = key
		}
	}
	idle := func(key string, set bool, needs ...string) {
		if set && !slices.Contains(needs, chosen) {
			faults.addf(key, "has no meaning with %s; it goes with %s", chosen, strings.Join(needs, ", "))
		}
	}
	if chosen == "" {
		chosen = "semver"
	}
	idle("preReleases", c.PreReleases, "semver", "calver")
	idle("precision", c.Precision != "", "semver")
	idle("match", c.Match != "", "semver", "newest", "numeric", "lexical", "calver")
	idle("downgrade", c.Downgrade, "semver", "newest", "numeric", "lexical", "calver")
	switch chosen {
	case "newest":
		return newTimes(c.Newest, faults)
	case "numeric":
		return numbers{desc: descending("numeric", c.Numeric, faults)}
	case "lexical":
		return texts{desc: descending("lexical", c.Lexical, faults)}
	case "calver":
		return newCalendar(c, faults)
	case "follow":
		return newFollow(c.Follow, faults)
	case "pin":
		return newPin(c.Pin, faults)
	}
	return newVersions(c, faults)
}

func descending(key, text string, faults *Faults) bool {
	if text != "asc" && text != "desc" {
		faults.addf(key, "%.60q is not one of asc (the highest is taken), desc (the lowest is taken)", text)
	}
	return text == "desc"
}

func newMatch(c *Config, faults *Faults) (match *regexp.Regexp, extract string) {
	if c.Match == "" {
		if c.Extract != "" {
			faults.addf("extract", "there is no match to extract it from; add match, such as \"match: '^main-(\\d+)$'\"")
		}
		return nil, ""
	}
	match = newExpression("match", 0, c.Match, faults)
	if match == nil {
		return nil, ""
	}
	extract = c.Extract
	switch {
	case extract != "":
		faults.checkTemplate(match, extract)
	case match.SubexpIndex("value") > 0:
		extract = "${value}"
	case match.NumSubexp() > 0:
		extract = "${1}"
	}
	return match, extract
}

// groupReference is how a template names a group, as [regexp.Regexp.Expand] reads it.
var groupReference = regexp.MustCompile(`\$(?:\{(\w+)\}|(\w+))`)

// checkTemplate refuses the groups that are not there, which would be taken for empty.
func (f *Faults) checkTemplate(match *regexp.Regexp, template string) {
	if len(template) > MaxText {
		f.addf("extract", "longer than %d bytes", MaxText)
		return
	}
	groups := groupReference.FindAllStringSubmatch(template, -1)
	if len(groups) == 0 {
		f.addf("extract", "%.60q names no group of match; write one such as $1 or ${name}", template)
	}
	for _, group := range groups {
		name := group[1] + group[2]
		number := 0
		if _, err := fmt.Sscanf(name, "%d", &number); err == nil && fmt.Sprint(number) == name {
			if number > match.NumSubexp() {
				f.addf("extract", "match has %d groups, so there is no $%d", match.NumSubexp(), number)
			}
			continue
		}
		if match.SubexpIndex(name) < 0 {
			f.addf("extract", "match has no group %.60q; name it (?P<%.60s>...), or write ${1} with braces before a letter", name, name)
		}
	}
}

func newExpressions(key string, texts []string, faults *Faults) []*regexp.Regexp {
	if len(texts) > MaxExpressions {
		faults.addf(key, "more than %d expressions; join some with |", MaxExpressions)
		return nil
	}
	var expressions []*regexp.Regexp
	for i, text := range texts {
		if expression := newExpression(key, i, text, faults); expression != nil {
			expressions = append(expressions, expression)
		}
	}
	return expressions
}

func newExpression(key string, index int, text string, faults *Faults) *regexp.Regexp {
	if len(text) > MaxExpression {
		*faults = append(*faults, Fault{Key: key, Index: index, Message: fmt.Sprintf("the expression is longer than %d bytes", MaxExpression)})
		return nil
	}
	expression, err := regexp.Compile(text)
	if err != nil {
		*faults = append(*faults, Fault{Key: key, Index: index, Message: err.Error()})
		return nil
	}
	return expression
}

var platformPattern = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$`)

func newPlatform(text string, faults *Faults) string {
	if text != "" && !platformPattern.MatchString(text) {
		faults.addf("platform", "%.60q is not a platform such as linux/amd64 or linux/arm64/v8", text)
	}
	return text
}

// maxAge bounds how long a tag can be made to wait: ten years.
const maxAge = 10 * 366 * 24 * time.Hour

func newAge(text string, faults *Faults) time.Duration {
	if text == "" {
		return 0
	}
	days, isDays := strings.CutSuffix(text, "d")
	var age time.Duration
	var err error
	if isDays {
		age, err = time.ParseDuration(days + "h")
		age *= 24
	} else {
		age, err = time.ParseDuration(text)
	}
	if err != nil || age <= 0 || age > maxAge {
		faults.addf("minAge", "%.60q is not a time such as 10m, 36h or 3d", text)
		return 0
	}
	return age
}
