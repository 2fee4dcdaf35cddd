package policy

import "regexp"

// named takes one tag: the one that it follows, or the one that it is pinned to.
type named struct {
	tag    string
	digest string
	follow bool
}

func newFollow(text string, faults *Faults) named {
	if !isTag(text) {
		faults.addf("follow", "%.60q is not a tag; write the one that moves, such as main", text)
	}
	return named{tag: text, follow: true}
}

var pinPattern = regexp.MustCompile(`^([^@]+)(?:@(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?$`)

func newPin(text string, faults *Faults) named {
	parts := pinPattern.FindStringSubmatch(text)
	if parts == nil || !isTag(parts[1]) {
		faults.addf("pin", "%.60q is not a tag, or a tag and a digest, such as 1.4.2 or 1.4.2@sha256:...", text)
		return named{}
	}
	return named{tag: parts[1], digest: parts[2]}
}

func (n named) String() string {
	if n.follow {
		return "follow " + n.tag
	}
	return "pinned to " + n.tag
}

func (n named) place(e *entry) Rule {
	if e.Name != n.tag {
		return RuleOther
	}
	return ""
}

func (n named) alike(_, _ *entry) Rule { return "" }

func (n named) compare(_, _ *entry) int { return 0 } // there is one
