package policy

import (
	"cmp"
	"fmt"
	"time"
)

// selection says what comes of the judgement.
func (j *judgement) selection() Selection {
	s := Selection{Tag: j.current.Name, Counts: j.counts()}
	first := (*entry)(nil)
	if len(j.judged) > 0 {
		first = j.judged[0]
	}
	switch {
	case first != nil && first.rule == RuleNewest:
		s.Tag, s.Changed = first.Name, true
		s.Digest = j.digest(first)
		s.Reason = j.newestReason(first)
	case first != nil && first.rule == RuleUnchecked:
		for _, e := range j.ahead(RuleUnchecked) {
			s.Check = append(s.Check, *j.written(e))
		}
		s.Reason = fmt.Sprintf("%s until the signatures of %s are checked, which may be newer", j.stay(), first.Name)
	case first != nil && first.rule == RuleUnknown:
		for _, e := range j.ahead(RuleUnknown) {
			s.Inspect = append(s.Inspect, e.Name)
		}
		s.Reason = fmt.Sprintf("%s until %s looked at, which may be newer", j.stay(), are(len(s.Inspect), first.Name))
	default:
		s.Reason = j.unchangedReason(first)
	}
	s.Again = j.again()
	if j.policy.hold != "" {
		return j.held(s)
	}
	return s
}

// digest returns the digest that a selection is about, if it is about one.
func (j *judgement) digest(e *entry) string {
	one, ok := j.order.(named)
	switch {
	case ok && !one.follow && one.digest != "":
		return one.digest
	case j.signed != nil:
		return e.Digest // the one that was checked
	case ok && !one.follow:
		return ""
	case ok || e.Inspected:
		return e.Digest
	}
	return ""
}

func (j *judgement) held(s Selection) Selection {
	reason := "held: " + j.policy.hold
	if s.Changed {
		reason += fmt.Sprintf("; without the hold %s would be taken", s.Tag)
	}
	return Selection{Tag: j.current.Name, Digest: j.current.Digest, Reason: reason, Counts: s.Counts}
}

// ahead are the tags of a rule that stand before everything else.
func (j *judgement) ahead(rule Rule) []*entry {
	most := MaxInspect
	if len(j.judged) > 0 && j.judged[0].placed {
		most = maxAhead // its image decides whether the next one matters
	}
	n := 0
	for n < min(most, len(j.judged)) && j.judged[n].rule == rule {
		n++
	}
	return j.judged[:n]
}

// again is when the first of the tags that are too young is old enough.
func (j *judgement) again() (at time.Time) {
	for _, e := range j.judged {
		if e.rule != RuleAge || e.Pushed.IsZero() {
			continue
		}
		if ripe := e.Pushed.Add(j.policy.minAge); at.IsZero() || ripe.Before(at) {
			at = ripe
		}
	}
	return at
}

func (j *judgement) stay() string {
	if j.current.Name == "" {
		return "nothing is taken"
	}
	return quote(j.current.Name) + " stays"
}

func (j *judgement) unchangedReason(first *entry) string {
	if one, ok := j.order.(named); ok {
		return j.namedReason(one)
	}
	missing := ""
	if first != nil && j.current.Name != "" && first.rule != RuleCurrent && j.stays == nil {
		missing = ", although the repository does not list it any more"
	}
	switch {
	case first == nil:
		return "the repository has no tags"
	case j.current.Name == "":
		return fmt.Sprintf("none of %d tags is %s", len(j.judged), inWords(j.order))
	}
	return fmt.Sprintf("%s%s: none of %d tags is newer and %s", j.stay(), missing, len(j.judged), inWords(j.order))
}

// namedReason says why the one tag that the policy names is not taken.
func (j *judgement) namedReason(one named) string {
	for _, e := range j.judged {
		switch {
		case e.Name != one.tag:
		case e.rule == RuleCurrent && e.Digest == "" && one.follow:
			return fmt.Sprintf("%s is followed; what it points to is not known yet", one.tag)
		case e.rule == RuleCurrent && one.follow:
			return fmt.Sprintf("%s points to what is there", one.tag)
		case e.rule == RuleCurrent:
			return fmt.Sprintf("%s is what the pipeline file pins", one.tag)
		default:
			return fmt.Sprintf("%s: %s is %s", j.stay(), one.tag, j.reason(e))
		}
	}
	return fmt.Sprintf("%s: the repository has no tag %s", j.stay(), one.tag)
}

func (j *judgement) newestReason(first *entry) string {
	name := first.Name
	one, ok := j.order.(named)
	switch {
	case ok && one.follow && name == j.current.Name:
		return fmt.Sprintf("%s moved", name)
	case ok && one.follow:
		return fmt.Sprintf("%s is followed", name)
	case ok:
		return fmt.Sprintf("%s is what the pipeline file pins", name)
	case j.current.Name == "":
		return fmt.Sprintf("%s is %s", name, theNewest(j.order))
	case !j.current.placed:
		return fmt.Sprintf("%s is %s; %s has no place in that order", name, theNewest(j.order), quote(j.current.Name))
	case j.policy.downgrade && j.order.compare(first, &j.current) <= 0:
		return fmt.Sprintf("%s is %s; the policy goes back from %s", name, theNewest(j.order), j.current.Name)
	}
	return fmt.Sprintf("%s is %s, and newer than %s", name, theNewest(j.order), j.current.Name)
}

func (j *judgement) counts() []Count {
	tags := map[Rule]int{}
	for _, e := range j.judged {
		tags[e.rule]++
	}
	var counts []Count
	for _, rule := range rules() {
		if tags[rule] > 0 {
			counts = append(counts, Count{rule, tags[rule]})
		}
	}
	return counts
}

// verdict puts a rule in words.
func (j *judgement) verdict(e *entry) Verdict {
	v := Verdict{Tag: e.Name, Rule: e.rule}
	v.Kept = e.rule == RuleNewest || e.rule == RuleOutranked || e.rule == RuleCurrent
	v.Reason = j.reason(e)
	return v
}

func (j *judgement) reason(e *entry) string {
	switch e.rule { //nolint:exhaustive // nameReason has the rest
	case RuleVariant:
		return fmt.Sprintf("%s, the current tag is %s", variant(e.variant), variant(j.current.variant))
	case RulePrecision:
		return j.precisionReason(e)
	case RuleOlder:
		return j.olderReason(e)
	case RuleUnknown:
		return "nobody has looked at the image yet"
	case RulePlatform:
		return j.platformReason(e)
	case RuleAge:
		if e.Pushed.IsZero() {
			return "when it was pushed is not known"
		}
		return fmt.Sprintf("seen for %s, less than %s", j.now.Sub(e.Pushed).Truncate(time.Second), j.policy.minAge)
	case RuleUnchecked:
		return cmp.Or(j.signed(j.written(e)).Reason, "nobody has checked its signatures yet")
	case RuleUnsigned:
		return j.signed(j.written(e)).Reason
	case RuleCurrent:
		return "the current tag"
	case RuleNewest:
		return theNewest(j.order)
	case RuleOutranked:
		return fmt.Sprintf("%s, but %s goes first", inWords(j.order), j.before())
	}
	return j.nameReason(e)
}

// nameReason puts the rules in words that look at the name alone.
func (j *judgement) nameReason(e *entry) string {
	switch e.rule { //nolint:exhaustive // reason has the rest
	case RuleName:
		return "not a name that a tag can have"
	case RuleSignature:
		return "a signature or an attestation of another image"
	case RuleOther:
		return fmt.Sprintf("the policy takes %s alone", j.order.(named).tag) //nolint:forcetypeassert // no other order has the rule
	case RuleDeny:
		return fmt.Sprintf("denied by %s", matchAny(j.policy.deny, e.Name))
	case RuleAllow:
		return "matches no expression of allow"
	case RuleMatch:
		return fmt.Sprintf("does not match %s", j.policy.match)
	case RuleVersion:
		return "not a version" + captured(e)
	case RuleNumber:
		return "not a number" + captured(e)
	case RuleCalver:
		return fmt.Sprintf("not of the form %s%s", j.order.(calendar).format, captured(e)) //nolint:forcetypeassert // likewise
	case RuleTime:
		if e.Problem != "" {
			return "its image cannot be read: " + e.Problem
		}
		return "the image does not say when it was made"
	case RulePreRelease:
		return "a pre-release, and the range names none"
	case RuleRange:
		return fmt.Sprintf("not in %s", j.order)
	}
	return string(e.rule)
}

func (j *judgement) before() string {
	if j.judged[0].rule == RuleOutranked {
		return j.stays.Name
	}
	return j.judged[0].Name
}

func (j *judgement) olderReason(e *entry) string {
	if j.order.compare(e, &j.current) != 0 {
		return fmt.Sprintf("older than the current tag %s", j.current.Name)
	}
	switch j.order.(type) {
	case versions, calendar:
		return fmt.Sprintf("the same version as the current tag %s", j.current.Name)
	case numbers:
		return fmt.Sprintf("the same number as the current tag %s", j.current.Name)
	}
	return fmt.Sprintf("as new as the current tag %s", j.current.Name)
}

func (j *judgement) platformReason(e *entry) string {
	if e.Problem != "" {
		return "its image cannot be read: " + e.Problem
	}
	return fmt.Sprintf("not there for %s, only for %q", j.policy.platform, e.Platforms)
}

func (j *judgement) precisionReason(e *entry) string {
	if j.current.version == nil {
		return fmt.Sprintf("%s, other tags have %d; it may be a date, or move from release to release", count(e.precision, "number"), j.precision)
	}
	return fmt.Sprintf("%s, the current tag %s has %d", count(e.precision, "number"), j.current.Name, j.current.precision)
}

// captured shows what of a tag is ordered, where that is not all of it.
func captured(e *entry) string {
	if e.value == e.Name {
		return ""
	}
	return ": " + quote(e.value)
}

// theNewest says what the first of an order is.
func theNewest(o order) string {
	switch o := o.(type) {
	case versions, calendar:
		return "the newest in " + o.String()
	case named:
		return "what the policy names"
	}
	return "the " + o.String()
}

// inWords says what every candidate of an order is.
func inWords(o order) string {
	switch o := o.(type) {
	case versions, calendar:
		return "in " + o.String()
	}
	return "fit for the " + o.String()
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func are(n int, first string) string {
	if n == 1 {
		return first + " was"
	}
	return fmt.Sprintf("%d tags were", n)
}

func variant(name string) string {
	if name == "" {
		return "no variant"
	}
	return "the variant " + name
}

// quote renders a foreign tag for a message.
func quote(tag string) string {
	if isTag(tag) {
		return tag
	}
	const most = 60
	if len(tag) > most {
		return fmt.Sprintf("%.*q...", most, tag)
	}
	return fmt.Sprintf("%q", tag)
}
