package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Rule names what decided about a tag.
type Rule string

// The rules, in the order in which they are asked. A tag gets the first that
// applies.
const (
	RuleName       Rule = "name"        // no registry has such a tag
	RuleSignature  Rule = "signature"   // belongs to another image
	RuleDeny       Rule = "deny"        // matches an expression of deny
	RuleAllow      Rule = "allow"       // matches no expression of allow
	RuleVersion    Rule = "version"     // is no version
	RuleVariant    Rule = "variant"     // another variant than the current tag
	RulePreRelease Rule = "pre-release" // the range names none
	RuleRange      Rule = "range"       // outside of the range
	RulePrecision  Rule = "precision"   // more or fewer numbers than the current tag
	RuleOlder      Rule = "older"       // lower than the current tag
	RuleCurrent    Rule = "current"     // what is there already
	RuleOutranked  Rule = "outranked"   // a candidate, but not the newest
	RuleNewest     Rule = "newest"      // the selected tag
)

// rules lists them for counting, in order.
func rules() []Rule {
	return []Rule{
		RuleName, RuleSignature, RuleDeny, RuleAllow, RuleVersion, RuleVariant, RulePreRelease, RuleRange,
		RulePrecision, RuleOlder, RuleCurrent, RuleOutranked, RuleNewest,
	}
}

// MaxVerdicts is how many verdicts [Select] gives. [Explain] answers for any tag.
const MaxVerdicts = 50

// Verdict says what became of a tag.
type Verdict struct {
	Tag string
	// Kept is whether the tag is a candidate: what is selected, what is there
	// already, and what would be selected if nothing newer were there.
	Kept   bool
	Rule   Rule
	Reason string
}

// Count is how many tags a rule decided about.
type Count struct {
	Rule Rule
	Tags int
}

// Selection is what an image should have.
type Selection struct {
	// Tag is the newest candidate, or the current tag if there is none. It is
	// empty if there is no current tag either.
	Tag string
	// Changed is whether Tag is another tag than the current one.
	Changed bool
	// Reason says why in one sentence.
	Reason string
	// Counts says how many tags each rule decided about, in the order of the
	// rules, without those that decided about none.
	Counts []Count
}

// Select chooses among the tags of a repository. current is the tag in Git, empty
// if there is none. Tags may come in any order, more than once, and malformed.
//
// The verdicts are those of the tags nearest to being selected: candidates, then
// other versions from the highest to the lowest, then all that is no version. At
// most [MaxVerdicts] are given.
func Select(p Policy, tags []string, current string) (Selection, []Verdict) {
	j := judge(p, tags, current)
	verdicts := make([]Verdict, 0, min(len(j.judged), MaxVerdicts))
	for i := range j.judged[:min(len(j.judged), MaxVerdicts)] {
		verdicts = append(verdicts, j.verdict(&j.judged[i]))
	}
	return j.selection(), verdicts
}

// Explain returns the verdict about one tag, which need not be among the tags.
func Explain(p Policy, tags []string, current, asked string) Verdict {
	j := judge(p, tags, current)
	for i := range j.judged {
		if j.judged[i].text == asked {
			return j.verdict(&j.judged[i])
		}
	}
	one := j.look(asked)
	verdict := j.verdict(&one)
	verdict.Kept = false
	if one.rule == RuleOutranked {
		verdict.Rule, verdict.Reason = RuleName, "the policy would take it, but the repository does not list it"
	} else {
		verdict.Reason += "; the repository does not list it either"
	}
	return verdict
}

// judged is a tag with the rule that applies to it.
type judged struct {
	tag
	rule Rule
}

// judgement is the state of one selection.
type judgement struct {
	policy  Policy
	current tag
	pre     bool // whether pre-releases are taken
	// precision is how many numbers a candidate has.
	precision int
	judged    []judged
}

func judge(p Policy, tags []string, current string) *judgement {
	j := &judgement{policy: p, current: parseTag(current), pre: p.takesPreReleases(), judged: make([]judged, 0, len(tags))}
	j.precision = j.current.precision
	sorted := slices.Clone(tags)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	j.settleVariant(sorted)
	for _, text := range sorted {
		j.judged = append(j.judged, j.look(text))
	}
	j.settlePrecision()
	slices.SortFunc(j.judged, j.order)
	if len(j.judged) > 0 && j.judged[0].rule == RuleOutranked {
		j.judged[0].rule = RuleNewest
	}
	return j
}

// look finds the rule for one tag, as far as it does not depend on other tags.
func (j *judgement) look(text string) judged {
	if !isTag(text) {
		return judged{tag{text: text}, RuleName}
	}
	if isSignature(text) {
		return judged{tag{text: text}, RuleSignature}
	}
	t := parseTag(text)
	return judged{t, j.rule(&t)}
}

func (j *judgement) rule(t *tag) Rule {
	switch p := j.policy; {
	case j.current.text == t.text:
		return RuleCurrent
	case matchAny(p.deny, t.text) != nil:
		return RuleDeny
	case len(p.allow) > 0 && matchAny(p.allow, t.text) == nil:
		return RuleAllow
	case t.version == nil:
		return RuleVersion
	case t.variant != j.current.variant:
		return RuleVariant
	case t.version.Prerelease() != "" && !j.pre:
		return RulePreRelease
	case !p.inRange(t):
		return RuleRange
	case j.precision != 0 && t.precision != j.precision:
		return RulePrecision
	case j.current.version != nil && t.version.Compare(j.current.version) <= 0:
		return RuleOlder
	}
	return RuleOutranked
}

// settleVariant finds the variant of a current tag that is no version: the
// longest variant of any tag that it ends with, as in "latest-alpine" or "alpine".
func (j *judgement) settleVariant(tags []string) {
	if j.current.version != nil || j.current.text == "" {
		return
	}
	for _, text := range tags {
		variant := parseTag(text).variant
		if len(variant) > len(j.current.variant) && strings.HasSuffix("-"+j.current.text, "-"+variant) {
			j.current.variant = variant
		}
	}
}

// settlePrecision decides how many numbers a candidate has where no current
// version says so: as many as the most precise candidate. Otherwise a date or an
// abbreviated commit of digits alone would beat every release.
func (j *judgement) settlePrecision() {
	if j.precision != 0 {
		return
	}
	for i := range j.judged {
		if j.judged[i].rule == RuleOutranked {
			j.precision = max(j.precision, j.judged[i].precision)
		}
	}
	for i := range j.judged {
		if t := &j.judged[i]; t.rule == RuleOutranked && t.precision != j.precision {
			t.rule = RulePrecision
		}
	}
}

// order puts candidates first, then versions from high to low, then the rest.
func (j *judgement) order(a, b judged) int {
	if c := rank(a) - rank(b); c != 0 {
		return c
	}
	if a.version != nil && b.version != nil {
		return -compare(&a.tag, &b.tag, &j.current)
	}
	return strings.Compare(a.text, b.text)
}

func rank(t judged) int {
	switch {
	case t.rule == RuleOutranked:
		return 0
	case t.rule == RuleCurrent:
		return 1
	case t.version != nil:
		return 2
	}
	return 3
}

func (j *judgement) selection() Selection {
	s := Selection{Tag: j.current.text, Counts: j.counts()}
	if len(j.judged) > 0 && j.judged[0].rule == RuleNewest {
		s.Tag, s.Changed = j.judged[0].text, true
		s.Reason = j.newestReason(s.Tag)
		return s
	}
	switch {
	case len(j.judged) == 0:
		s.Reason = "the repository has no tags"
	case s.Tag == "":
		s.Reason = fmt.Sprintf("none of %d tags is in %s", len(j.judged), j.policy)
	case j.judged[0].rule != RuleCurrent:
		s.Reason = fmt.Sprintf("%s stays, although the repository does not list it any more: none of %d tags is newer and in %s",
			quote(s.Tag), len(j.judged), j.policy)
	default:
		s.Reason = fmt.Sprintf("%s stays: none of %d tags is newer and in %s", quote(s.Tag), len(j.judged), j.policy)
	}
	return s
}

func (j *judgement) newestReason(newest string) string {
	switch {
	case j.current.text == "":
		return fmt.Sprintf("%s is the newest in %s", newest, j.policy)
	case j.current.version == nil:
		return fmt.Sprintf("%s is the newest in %s; %s is no version", newest, j.policy, quote(j.current.text))
	}
	return fmt.Sprintf("%s is the newest in %s, and newer than %s", newest, j.policy, j.current.text)
}

func (j *judgement) counts() []Count {
	tags := map[Rule]int{}
	for i := range j.judged {
		tags[j.judged[i].rule]++
	}
	var counts []Count
	for _, rule := range rules() {
		if tags[rule] > 0 {
			counts = append(counts, Count{rule, tags[rule]})
		}
	}
	return counts
}
