package policy

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Policy is a checked [Config]. The zero Policy takes the newest version.
type Policy struct {
	order       order // nil means versions{}
	match       *regexp.Regexp
	extract     string
	allow, deny []*regexp.Regexp
	platform    string
	minAge      time.Duration
	downgrade   bool
	hold        string
}

// order is how the tags of a policy are ordered.
type order interface {
	// String says in words what is taken, such as "semver ^1".
	String() string
	// place reads where a tag stands in the order; the rule says why it has no place.
	place(e *entry) Rule
	// alike says why a tag with a place is no replacement for the current one, which may have none.
	alike(e, current *entry) Rule
	// compare orders two tags that have a place: positive if a goes first. It is 0 for two names of the same thing.
	compare(a, b *entry) int
}

func (p *Policy) ordered() order {
	if p.order == nil {
		return versions{}
	}
	return p.order
}

// String returns the policy in words.
func (p Policy) String() string {
	words := []string{p.ordered().String()}
	if p.match != nil {
		words = append(words, "of "+p.match.String())
	}
	if p.platform != "" {
		words = append(words, "for "+p.platform)
	}
	if p.minAge > 0 {
		words = append(words, "seen for "+p.minAge.String())
	}
	if p.hold != "" {
		words = append(words, "held")
	}
	return strings.Join(words, ", ")
}

// Held returns the reason for which the policy changes nothing; empty if it is not held.
func (p Policy) Held() string { return p.hold }

// Follows returns the tag that the policy follows wherever it points to; empty if it chooses among tags.
func (p Policy) Follows() string {
	follow, _ := p.order.(named)
	if follow.follow {
		return follow.tag
	}
	return ""
}

// Compare orders two tags: negative if a goes behind b. ok is false if their names do not say so, or if the policy has no
// objection to going back.
func (p Policy) Compare(a, b string) (order int, ok bool) {
	scheme := p.ordered()
	switch scheme.(type) {
	case times, named:
		return 0, false
	}
	x, y := p.current(&Tag{Name: a}), p.current(&Tag{Name: b})
	if p.downgrade || !x.placed || !y.placed || x.variant != y.variant {
		return 0, false
	}
	return scheme.compare(&x, &y), true
}

// value returns what of a tag is ordered; false if it does not match.
func (p *Policy) value(tag string) (value string, ok bool) {
	if p.match == nil {
		return tag, true
	}
	groups := p.match.FindStringSubmatchIndex(tag)
	if groups == nil {
		return "", false
	}
	if p.extract == "" {
		return tag, true
	}
	return string(p.match.ExpandString(nil, p.extract, tag, groups)), true
}

// passes tells whether allow and deny let a tag through.
func (p *Policy) passes(tag string) bool {
	return matchAny(p.deny, tag) == nil && (len(p.allow) == 0 || matchAny(p.allow, tag) != nil)
}

// current reads the tag that is there. It has a place in the order also if the policy would not take it, so that nothing
// below it is taken.
func (p *Policy) current(tag *Tag) entry {
	e := entry{Tag: tag}
	if tag.Name == "" {
		return e
	}
	value, matches := p.value(tag.Name)
	if _, anything := p.ordered().(texts); anything && (!matches || !p.passes(tag.Name)) {
		return e // every text has a place among texts; that of another kind of tag says nothing
	}
	if e.value = value; !matches {
		e.value = tag.Name
	}
	e.placed = p.ordered().place(&e) == ""
	return e
}

// runsOn tells whether an image is there for the policy's platform. A variant that is not asked for does not matter.
func (p *Policy) runsOn(platforms []string) bool {
	return slices.ContainsFunc(platforms, func(has string) bool {
		return has == p.platform || strings.HasPrefix(has, p.platform+"/")
	})
}

func matchAny(expressions []*regexp.Regexp, text string) *regexp.Regexp {
	for _, expression := range expressions {
		if expression.MatchString(text) {
			return expression
		}
	}
	return nil
}
