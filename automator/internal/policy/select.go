package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Rule names what decided about a tag.
type Rule string

// The rules, in the order in which they are asked. A tag gets the first that
// applies.
const (
	RuleName       Rule = "name"        // no registry has such a tag
	RuleSignature  Rule = "signature"   // belongs to another image
	RuleCurrent    Rule = "current"     // what is there already
	RuleOther      Rule = "other"       // not the tag that is followed or pinned
	RuleDeny       Rule = "deny"        // matches an expression of deny
	RuleAllow      Rule = "allow"       // matches no expression of allow
	RuleMatch      Rule = "match"       // does not match
	RuleVersion    Rule = "version"     // is no version
	RuleNumber     Rule = "number"      // is no number
	RuleCalver     Rule = "calver"      // is no calendar version of the format
	RuleTime       Rule = "time"        // has no time
	RuleVariant    Rule = "variant"     // another variant than the current tag
	RulePreRelease Rule = "pre-release" // the range names none
	RuleRange      Rule = "range"       // outside of the range
	RulePrecision  Rule = "precision"   // more or fewer numbers than the current tag
	RuleOlder      Rule = "older"       // lower than the current tag
	RuleUnknown    Rule = "unknown"     // nobody has looked at the image yet
	RulePlatform   Rule = "platform"    // the image is not there for the platform
	RuleAge        Rule = "age"         // too young
	RuleUnchecked  Rule = "unchecked"   // nobody has checked who signed it yet
	RuleUnsigned   Rule = "unsigned"    // not signed by whom it must be
	RuleOutranked  Rule = "outranked"   // a candidate, but not the newest
	RuleNewest     Rule = "newest"      // the selected tag
)

// rules lists them for counting, in order.
func rules() []Rule {
	return []Rule{
		RuleName, RuleSignature, RuleCurrent, RuleOther, RuleDeny, RuleAllow, RuleMatch, RuleVersion, RuleNumber, RuleCalver, RuleTime,
		RuleVariant, RulePreRelease, RuleRange, RulePrecision, RuleOlder, RuleUnknown, RulePlatform, RuleAge, RuleUnchecked, RuleUnsigned,
		RuleOutranked, RuleNewest,
	}
}

const (
	// MaxVerdicts is how many verdicts [Select] gives. [Explain] answers for any tag.
	MaxVerdicts = 50
	// MaxInspect is how many tags [Select] asks to have looked at.
	MaxInspect = 1000
	// maxAhead is how many of them where the first may do.
	maxAhead = 8
)

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

// Input is what a selection depends on besides the policy.
type Input struct {
	// Tags are those of the repository, in any order, more than once, and malformed.
	Tags []Tag
	// Current is the tag in Git, without a name if there is none. Its digest is the one in Git; its times are those of the
	// tag, also of one that the repository does not list any more.
	Current Tag
	// Now is the clock, for policies with a least age.
	Now time.Time
	// Signed says whether a tag's image is signed by whom it must be, for an image that has to be; nil asks for nothing.
	Signed func(*Tag) Signed
}

// Signed is what is known of the signatures of an image.
type Signed struct {
	// Checked is whether that is settled; Kept is whether the image is signed by whom it must be, and Reason says why not, or
	// why it is not settled where that is known.
	Checked, Kept bool
	Reason        string
	// By names who has signed.
	By []string
}

// Selection is what an image should have.
type Selection struct {
	// Tag is the newest candidate, or the current tag if there is none. It is
	// empty if there is no current tag either.
	Tag string
	// Digest is the one to take where it matters which: that of a followed tag, of a pin, or of an image that was looked
	// at. It is empty where any that the tag points to will do.
	Digest string
	// Changed is whether this is another image than the current one.
	Changed bool
	// Reason says why in one sentence.
	Reason string
	// Inspect are tags that have to be looked at before anything can be selected, at most [MaxInspect].
	Inspect []string
	// Check are tags whose signatures have to be checked before anything can be selected, with the digest if one is meant.
	Check []Tag
	// Again is when a tag becomes old enough; zero if none waits for that.
	Again time.Time
	// Counts says how many tags each rule decided about, in the order of the
	// rules, without those that decided about none.
	Counts []Count
}

// Select chooses among the tags of a repository.
//
// The verdicts are those of the tags nearest to being selected: candidates, then
// others that have a place in the order from the first to the last, then the rest.
// At most [MaxVerdicts] are given.
func Select(p Policy, in Input) (Selection, []Verdict) {
	j := judge(p, in)
	verdicts := make([]Verdict, 0, min(len(j.judged), MaxVerdicts))
	for _, e := range j.judged[:min(len(j.judged), MaxVerdicts)] {
		verdicts = append(verdicts, j.verdict(e))
	}
	return j.selection(), verdicts
}

// All returns the verdict about every tag, in the order of [Select].
func All(p Policy, in Input) (Selection, []Verdict) {
	j := judge(p, in)
	verdicts := make([]Verdict, 0, len(j.judged))
	for _, e := range j.judged {
		verdicts = append(verdicts, j.verdict(e))
	}
	return j.selection(), verdicts
}

// Explain returns the verdict about one tag, which need not be among the tags.
func Explain(p Policy, in Input, asked string) Verdict {
	j := judge(p, in)
	for _, e := range j.judged {
		if e.Name == asked {
			return j.verdict(e)
		}
	}
	one := entry{Tag: &Tag{Name: asked}}
	one.rule = j.look(&one)
	verdict := j.verdict(&one)
	verdict.Kept = false
	if one.rule == RuleOutranked {
		verdict.Rule, verdict.Reason = RuleName, "the policy would take it, but the repository does not list it"
	} else {
		verdict.Reason += "; the repository does not list it either"
	}
	return verdict
}

// judgement is the state of one selection.
type judgement struct {
	policy  *Policy
	order   order
	now     time.Time
	signed  func(*Tag) Signed
	current entry
	// precision is how many numbers a candidate has; 0 if that does not matter.
	precision int
	judged    []*entry
	// stays is the current tag if going back is allowed and it would be taken itself.
	stays *entry
}

func judge(p Policy, in Input) *judgement {
	j := &judgement{policy: &p, order: p.ordered(), now: in.Now, signed: in.Signed, current: p.current(&in.Current)}
	tags := sorted(in.Tags)
	if pin, ok := j.order.(named); ok && pin.digest != "" && !slices.ContainsFunc(tags, func(t Tag) bool { return t.Name == pin.tag }) {
		tags = append(slices.Clone(tags), Tag{Name: pin.tag}) // whoever names the digest need not wait for the tag
	}
	entries := make([]entry, len(tags))
	j.judged = make([]*entry, len(tags))
	for i := range tags {
		entries[i].Tag, j.judged[i] = &tags[i], &entries[i]
	}
	j.settleVariant()
	for _, e := range j.judged {
		e.rule = j.look(e)
	}
	j.settlePrecision()
	slices.SortFunc(j.judged, j.compare)
	if len(j.judged) > 0 && j.judged[0].rule == RuleOutranked {
		if j.stays != nil && j.order.compare(j.judged[0], j.stays) <= 0 {
			return j
		}
		j.judged[0].rule = RuleNewest
	}
	return j
}

// sorted returns tags by name, each once.
func sorted(tags []Tag) []Tag {
	byName := func(a, b Tag) int { return strings.Compare(a.Name, b.Name) }
	same := func(a, b Tag) bool { return a.Name == b.Name }
	strictly := true
	for i := 1; i < len(tags) && strictly; i++ {
		strictly = tags[i-1].Name < tags[i].Name
	}
	if strictly {
		return tags
	}
	tags = slices.Clone(tags)
	slices.SortStableFunc(tags, byName)
	return slices.CompactFunc(tags, same)
}

// look finds the rule for one tag, as far as it does not depend on other tags.
func (j *judgement) look(e *entry) Rule {
	switch {
	case !isTag(e.Name):
		return RuleName
	case isSignature(e.Name):
		return RuleSignature
	case e.Name != j.current.Name:
		return j.rule(e)
	}
	// The current tag has its place whether it would be taken or not.
	rule := j.rule(e)
	switch {
	case j.renewed(e):
		return rule
	case j.policy.downgrade && (rule == RuleOutranked || rule == RuleUnchecked || rule == RuleUnsigned || rule == RuleUnknown):
		j.stays = e // nothing goes back because of what is not known of the current one
	}
	if tag := e.Tag; !e.placed && j.current.placed { // by its whole name, where what match cuts out has none
		*e = j.current
		e.Tag = tag
	}
	return RuleCurrent
}

// renewed tells whether the tag that is there points to something else, and the policy wants that.
func (j *judgement) renewed(e *entry) bool {
	one, ok := j.order.(named)
	if !ok {
		return false
	}
	if one.follow {
		return e.Digest != "" && e.Digest != j.current.Digest
	}
	return one.digest != "" && one.digest != j.current.Digest
}

func (j *judgement) rule(e *entry) Rule {
	if rule := j.filter(e); rule != "" {
		e.placed = e.value != "" && j.order.place(e) == "" // it is shown where it would stand
		return rule
	}
	if rule := j.order.place(e); rule != "" {
		return rule
	}
	e.placed = true
	if rule := j.order.alike(e, &j.current); rule != "" {
		return rule
	}
	if j.older(e) {
		return RuleOlder
	}
	return j.ripe(e)
}

// filter asks what depends on the name alone.
func (j *judgement) filter(e *entry) Rule {
	p := j.policy
	if _, one := j.order.(named); one {
		return "" // the name says it all
	}
	value, ok := p.value(e.Name)
	e.value = value
	switch {
	case matchAny(p.deny, e.Name) != nil:
		return RuleDeny
	case len(p.allow) > 0 && matchAny(p.allow, e.Name) == nil:
		return RuleAllow
	case !ok:
		return RuleMatch
	}
	return ""
}

// older tells whether a tag is nothing newer than the current one.
func (j *judgement) older(e *entry) bool {
	if j.policy.downgrade || !j.current.placed || e.Name == j.current.Name {
		return false
	}
	_, one := j.order.(named)
	return !one && j.order.compare(e, &j.current) <= 0
}

// ripe asks what depends on the image and on the clock.
func (j *judgement) ripe(e *entry) Rule {
	p := j.policy
	one, ok := j.order.(named)
	pinned := ok && !one.follow // whoever pins has looked
	switch {
	case pinned:
	case p.platform != "" && !e.Inspected && e.Problem == "":
		return RuleUnknown
	case p.platform != "" && !p.runsOn(e.Platforms):
		return RulePlatform
	case p.minAge > 0 && (e.Pushed.IsZero() || j.now.Sub(e.Pushed) < p.minAge):
		return RuleAge
	}
	return j.vouched(e)
}

// vouched asks who has signed the image.
func (j *judgement) vouched(e *entry) Rule {
	if j.signed == nil {
		return RuleOutranked
	}
	switch signed := j.signed(j.written(e)); {
	case !signed.Checked:
		return RuleUnchecked
	case !signed.Kept:
		return RuleUnsigned
	}
	return RuleOutranked
}

// written is a tag with the digest that would be written: that of a pin, or what the tag points to.
func (j *judgement) written(e *entry) *Tag {
	one, ok := j.order.(named)
	if !ok || one.digest == "" {
		return e.Tag
	}
	tag := *e.Tag
	tag.Digest = one.digest
	return &tag
}

// settleVariant finds the variant of a current tag that is no version: the
// longest variant of any tag that it ends with, as in "latest-alpine" or "alpine".
func (j *judgement) settleVariant() {
	if _, versioned := j.order.(versions); !versioned || j.current.placed || j.current.Tag.Name == "" {
		return
	}
	for _, e := range j.judged {
		probe := entry{Tag: e.Tag}
		if value, ok := j.policy.value(e.Name); ok {
			probe.value = value
			parseVersion(&probe)
		}
		if len(probe.variant) > len(j.current.variant) && strings.HasSuffix("-"+j.current.Name, "-"+probe.variant) {
			j.current.variant = probe.variant
		}
	}
}

// settlePrecision decides how many numbers a candidate has where no current
// version says so: as many as the most precise candidate. Otherwise a date or an
// abbreviated commit of digits alone would beat every release.
func (j *judgement) settlePrecision() {
	if v, ok := j.order.(versions); !ok || v.anyNumbers || j.current.precision != 0 {
		return
	}
	waiting := func(e *entry) bool {
		return e.rule == RuleOutranked || e.rule == RuleUnknown || e.rule == RuleAge || e.rule == RuleUnchecked
	}
	for _, e := range j.judged {
		if waiting(e) {
			j.precision = max(j.precision, e.precision)
		}
	}
	for _, e := range j.judged {
		if waiting(e) && e.precision != j.precision {
			e.rule = RulePrecision
		}
	}
}

// compare puts candidates first, then what has a place in the order, then the rest. It is total: two names of the same
// thing are ordered by what keeps the tag like the current one, then naturally.
func (j *judgement) compare(a, b *entry) int {
	if c := rank(a) - rank(b); c != 0 {
		return c
	}
	if !a.placed || !b.placed {
		// What has no place because nobody looked may be the newest.
		if c := cmp.Compare(order01(a.placed), order01(b.placed)); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	}
	if c := j.order.compare(b, a); c != 0 {
		return c
	}
	if a.precision != b.precision {
		return b.precision - a.precision
	}
	if a.prefixed != b.prefixed {
		if a.prefixed == j.current.prefixed {
			return -1
		}
		return 1
	}
	return natural(b.Name, a.Name)
}

func order01(placed bool) int {
	if placed {
		return 1
	}
	return 0
}

func rank(e *entry) int {
	switch {
	case e.rule == RuleOutranked, e.rule == RuleUnknown, e.rule == RuleUnchecked:
		return 0
	case e.rule == RuleCurrent:
		return 1
	case e.placed:
		return 2
	}
	return 3
}
