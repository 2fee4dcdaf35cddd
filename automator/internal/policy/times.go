package policy

// times orders by time.
type times struct{ pushed bool }

func newTimes(text string, faults *Faults) times {
	if text != "created" && text != "pushed" {
		faults.addf("newest", "%.60q is not one of created (what the image says), pushed (when it was seen first)", text)
	}
	return times{pushed: text == "pushed"}
}

func (t times) String() string {
	if t.pushed {
		return "newest by push time"
	}
	return "newest by creation time"
}

func (t times) place(e *entry) Rule {
	switch {
	case t.pushed:
		e.time = e.Pushed
	case e.Created.IsZero() && !e.Inspected && e.Problem == "":
		return RuleUnknown
	default:
		e.time = e.Created
	}
	if e.time.IsZero() {
		return RuleTime
	}
	return ""
}

func (t times) alike(_, _ *entry) Rule { return "" }

func (t times) compare(a, b *entry) int { return a.time.Compare(b.time) }
