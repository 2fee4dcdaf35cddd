package policy

import (
	"slices"
	"strings"
	"testing"
)

// FuzzSelect checks what MUST hold for any tags: the choice does not depend on
// the order of the tags or on tags that were dropped, is never a downgrade, and
// is itself a tag that Explain calls the newest.
func FuzzSelect(f *testing.F) {
	f.Add("1.0.0 1.1.0 latest", "1.0.0", ">=1.0.0 <2.0.0", "")
	f.Add("v1.2-alpine 1.3-alpine 1.3.0-rc.1-alpine_5 1.3", "1.2-alpine", "^1.2.0-0", "rc")
	f.Add("20240101 1.0.0 sha256-aa 1..0 -1 1.0.0-- 1.0.0-a-b", "main", "", "^2")
	f.Add("1.0.0-18446744073709551616 1.0.0-9 1.0.0-a", "1.0.0-0", "1.x || 2.0.0-rc", "")
	f.Fuzz(func(t *testing.T, list, current, versions, deny string) {
		p, err := New(Config{Semver: versions, Deny: strings.Fields(deny)})
		if err != nil {
			return
		}
		tags := strings.Split(list, " ")
		selection, verdicts := Select(p, input(current, tags...))
		if !selection.Changed {
			if selection.Tag != current {
				t.Fatalf("Select(%q, %q) = %+v, unchanged but not current", tags, current, selection)
			}
			return
		}
		checkChoice(t, selection, verdicts, current)
		slices.Reverse(tags)
		if again, _ := Select(p, input(current, tags...)); again.Tag != selection.Tag {
			t.Fatalf("Select(%q, %q) = %q, in reverse order %q", tags, current, selection.Tag, again.Tag)
		}
		kept := slices.DeleteFunc(tags, func(tag string) bool { return !Explain(p, input(current, tags...), tag).Kept })
		if again, _ := Select(p, input(current, kept...)); again.Tag != selection.Tag {
			t.Fatalf("Select(%q, %q) = %q without the dropped tags, %q with them", kept, current, again.Tag, selection.Tag)
		}
		if again, _ := Select(p, input(selection.Tag, tags...)); again.Changed {
			t.Fatalf("Select(%q, %q) = %q, and from there %q", tags, current, selection.Tag, again.Tag)
		}
	})
}

func parsed(text string) entry {
	e := entry{Tag: &Tag{Name: text}, value: text}
	parseVersion(&e)
	return e
}

func checkChoice(t *testing.T, selection Selection, verdicts []Verdict, current string) {
	t.Helper()
	if len(verdicts) == 0 || verdicts[0].Tag != selection.Tag || verdicts[0].Rule != RuleNewest || !verdicts[0].Kept {
		t.Fatalf("selected %q, but the first verdict is %+v", selection.Tag, verdicts)
	}
	from, to := parsed(current), parsed(selection.Tag)
	if from.version != nil && !to.version.GreaterThan(from.version) {
		t.Fatalf("selected %q, which is not newer than %q", selection.Tag, current)
	}
	if from.version != nil && (from.variant != to.variant || from.precision != to.precision) {
		t.Fatalf("selected %q, which is not like %q", selection.Tag, current)
	}
	for _, v := range verdicts {
		if v.Reason == "" || v.Rule == "" {
			t.Fatalf("a verdict without a reason: %+v", v)
		}
	}
}
