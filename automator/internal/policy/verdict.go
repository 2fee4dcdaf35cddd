package policy

import "fmt"

// verdict puts a rule in words.
func (j *judgement) verdict(t *judged) Verdict {
	v := Verdict{Tag: t.text, Rule: t.rule}
	v.Kept = t.rule == RuleNewest || t.rule == RuleOutranked || t.rule == RuleCurrent
	v.Reason = j.reason(t)
	return v
}

func (j *judgement) reason(t *judged) string {
	switch t.rule {
	case RuleName:
		return "not a name that a tag can have"
	case RuleSignature:
		return "a signature or an attestation of another image"
	case RuleDeny:
		return fmt.Sprintf("denied by %s", matchAny(j.policy.deny, t.text))
	case RuleAllow:
		return "matches no expression of allow"
	case RuleVersion:
		return "not a version"
	case RuleVariant:
		return fmt.Sprintf("%s, the current tag is %s", variant(t.variant), variant(j.current.variant))
	case RulePreRelease:
		return "a pre-release, and the range names none"
	case RuleRange:
		return fmt.Sprintf("not in %s", j.policy)
	case RulePrecision:
		return j.precisionReason(t)
	case RuleOlder:
		if t.version.Equal(j.current.version) {
			return fmt.Sprintf("the same version as the current tag %s", j.current.text)
		}
		return fmt.Sprintf("older than the current tag %s", j.current.text)
	case RuleCurrent:
		return "the current tag"
	case RuleNewest:
		return fmt.Sprintf("the newest in %s", j.policy)
	case RuleOutranked:
		return fmt.Sprintf("in %s, but %s goes first", j.policy, j.judged[0].text)
	}
	return string(t.rule)
}

func (j *judgement) precisionReason(t *judged) string {
	if j.current.version == nil {
		return fmt.Sprintf("%s, other tags have %d; it may be a date, or move from release to release", numbers(t.precision), j.precision)
	}
	return fmt.Sprintf("%s, the current tag %s has %d", numbers(t.precision), j.current.text, j.precision)
}

func numbers(n int) string {
	if n == 1 {
		return "1 number"
	}
	return fmt.Sprintf("%d numbers", n)
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
