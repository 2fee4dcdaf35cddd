package chaos

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSelect(t *testing.T) {
	t.Parallel()
	stories := []Story{{Name: "a", Short: true}, {Name: "b"}, {Name: "c", Short: true}}
	for name, tc := range map[string]struct {
		reason string
		names  []string
		short  bool
		want   []string
	}{
		"All":        {reason: "no name is every name", want: []string{"a", "b", "c"}},
		"Short":      {reason: "make test tells the short ones", short: true, want: []string{"a", "c"}},
		"Named":      {reason: "in the order of whoever asks", names: []string{"c", "b"}, want: []string{"c", "b"}},
		"NamedShort": {reason: "both narrow", names: []string{"b", "c"}, short: true, want: []string{"c"}},
	} {
		got, err := Select(stories, tc.names, tc.short)
		if diff := cmp.Diff(tc.want, Names(got)); err != nil || diff != "" {
			t.Errorf("%s: %s: %v, -want, +got:\n%s", name, tc.reason, err, diff)
		}
	}
	if _, err := Select(stories, []string{"d"}, false); err == nil || !strings.Contains(err.Error(), "a, b, c") {
		t.Errorf("Select of an unknown story: %v, want the names there are", err)
	}
}

// The names of stories become those of namespaces and folders, and are what people type.
func TestStoriesHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range Stories() {
		if s.Name == "" || strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyz-") != "" || seen[s.Name] || s.What == "" || s.Tell == nil {
			t.Errorf("story %q: needs a name of its own in lower case, a sentence and something to tell", s.Name)
		}
		seen[s.Name] = true
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	report := Report{Outcomes: []Outcome{
		{Story: "cuts", Rounds: []Round{{What: "one", Seconds: 1.5}, {What: "two", Seconds: 2.25}}},
		{Story: "disk", Skipped: "not told: no right to mount"},
		{Story: "kill", Failure: "not well\n  - lost"},
	}}
	var table strings.Builder
	if err := report.Table(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cuts   two", "2.25 s", "disk   not told", "FAILED: not well", "2 troubles", "the slowest: two"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, table.String())
		}
	}
	line, err := report.JSON()
	if err != nil || !strings.Contains(string(line), `{"what":"two","seconds":2.25}`) || strings.Contains(string(line), "\n") {
		t.Errorf("JSON: %s, %v", line, err)
	}
}
