package policy

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzOrders checks for every order what MUST hold for any tags and any times: the order is total and the choice does not
// depend on how the tags come, choosing is idempotent, nothing goes back, and what is malformed changes nothing.
func FuzzOrders(f *testing.F) {
	for order := range uint8(orders) {
		f.Add(order, "1.0.0 v1.0.0 1.1 2024.01.02 9 10 main main-9 main-10 a_b -x 1.0.0-rc.1-alpine", "1.0.0", "")
		f.Add(order, "9 10 010 1.5 1.50 2.0 2.0.0 2.0.0.0", "9", `^(\d+)`)
	}
	f.Fuzz(func(t *testing.T, order uint8, list, current, match string) {
		c := configOf(order)
		if c.Follow == "" && c.Pin == "" {
			c.Match = match
		}
		p, err := New(c)
		if err != nil {
			return
		}
		tags := someTags(list)
		in := Input{Tags: tags, Current: Tag{Name: current}, Now: noon}
		for _, tag := range tags {
			if tag.Name == current {
				in.Current = tag
			}
		}
		got, verdicts := All(p, in)
		checkTotal(t, p, in, verdicts)
		checkForward(t, p, in, got)
		reversed := in
		reversed.Tags = slices.Clone(tags)
		slices.Reverse(reversed.Tags)
		if again, _ := All(p, reversed); again.Tag != got.Tag {
			t.Errorf("%s: %q, in reverse order %q", p, got.Tag, again.Tag)
		}
		spoiled := in
		spoiled.Tags = append(slices.Clone(tags), Tag{Name: "", Inspected: true}, Tag{Name: "..", Inspected: true}, Tag{Name: "sha256-0.sig", Inspected: true}, Tag{Name: strings.Repeat("9", 200), Inspected: true})
		if again, _ := All(p, spoiled); again.Tag != got.Tag || again.Changed != got.Changed {
			t.Errorf("%s: %+v, with malformed tags %+v", p, got, again)
		}
	})
}

const orders = 9

func configOf(order uint8) Config {
	return []Config{
		{},
		{Semver: ">=1.0.0-0", Precision: "any"},
		{Newest: "created"},
		{Newest: "pushed"},
		{Numeric: "asc"},
		{Numeric: "desc"},
		{Lexical: "asc"},
		{Calver: "YYYY.0M.0D"},
		{Follow: "main"},
	}[order%orders]
}

// someTags gives tags times that depend on their names, some of them the same.
func someTags(list string) []Tag {
	var tags []Tag
	for name := range strings.FieldsSeq(list) {
		if slices.ContainsFunc(tags, func(t Tag) bool { return t.Name == name }) {
			continue
		}
		sum := 0
		for _, b := range []byte(name) {
			sum += int(b)
		}
		at := noon.Add(time.Duration(sum%7) * time.Hour)
		tags = append(tags, Tag{Name: name, Digest: "sha256:" + name, Created: at, Pushed: at, Inspected: true})
	}
	return tags
}

// checkTotal checks that the verdicts come in an order without contradictions, each tag once.
func checkTotal(t *testing.T, p Policy, in Input, verdicts []Verdict) {
	t.Helper()
	if len(verdicts) != len(in.Tags) {
		t.Fatalf("%s: %d verdicts about %d tags", p, len(verdicts), len(in.Tags))
	}
	j := judge(p, in)
	for i, a := range j.judged {
		for k, b := range j.judged {
			switch c := j.compare(a, b); {
			case i == k && c != 0, i < k && c >= 0 && a.rule != RuleNewest, i > k && c <= 0 && b.rule != RuleNewest:
				t.Fatalf("%s: %s and %s at %d and %d compare as %d", p, a.Name, b.Name, i, k, c)
			}
		}
	}
}

// checkForward checks that a choice is never a step back, and that choosing again changes nothing.
func checkForward(t *testing.T, p Policy, in Input, got Selection) {
	t.Helper()
	if !got.Changed {
		if got.Tag != in.Current.Name {
			t.Fatalf("%s: %+v, unchanged but not current", p, got)
		}
		return
	}
	if order, ok := p.Compare(got.Tag, in.Current.Name); ok && order <= 0 && p.current(&in.Current).placed {
		t.Fatalf("%s: from %q to %q, which is not above it", p, in.Current.Name, got.Tag)
	}
	next := in
	for _, tag := range in.Tags {
		if tag.Name == got.Tag {
			next.Current = tag
		}
	}
	if again, _ := All(p, next); again.Changed {
		t.Fatalf("%s: %q, and from there %q", p, got.Tag, again.Tag)
	}
}
