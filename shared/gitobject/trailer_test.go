package gitobject_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

func TestParseTrailers(t *testing.T) {
	t.Parallel()
	type trailers = []gitobject.Trailer
	cases := map[string]struct {
		reason  string
		message string
		want    trailers
	}{
		"LastParagraph": {"trailers end the message", "title\n\nbody\n\nA: 1\nB: 2\n", trailers{{"A", "1"}, {"B", "2"}}},
		"Title":         {"the title is no trailer", "A: 1\n", nil},
		"NotLast":       {"an earlier paragraph is text", "title\n\nA: 1\n\nbody\n", nil},
		"Mixed":         {"text among them makes them text", "title\n\nA: 1\nbody\n", nil},
		"MixedByGit": {
			"a line by Git itself keeps them", "title\n\nbody\nA: 1\nSigned-off-by: B\n",
			trailers{{"A", "1"}, {"Signed-off-by", "B"}},
		},
		"Folded":    {"a value may be folded", "title\n\nA: 1\n  2\n\t3\n", trailers{{"A", "1 2 3"}}},
		"Spaces":    {"space around is not meant", "title\n\nA :  1 \n", trailers{{"A", "1"}}},
		"NoValue":   {"nothing may be said", "title\n\nA:\n", trailers{{"A", ""}}},
		"Duplicate": {"a key may come twice", "title\n\nA: 1\nA: 2\n", trailers{{"A", "1"}, {"A", "2"}}},
		"Comment":   {"comments at the end are no text", "title\n\nA: 1\n\n# B: 2\n", trailers{{"A", "1"}}},
		"Empty":     {"no message, no trailers", "", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := gitobject.ParseTrailers(tc.message)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: ParseTrailers(%q): -want, +got:\n%s", tc.reason, tc.message, diff)
			}
		})
	}
}

func TestTrailersAreThoseOfGit(t *testing.T) {
	t.Parallel()
	r := newRepository(t, gitobject.SHA1)
	lines := []string{
		"", "", " ", "\t", "text", "A: 1", "B-b: 2", "C :3", "D d: 4", "-: 5", ":6", "E:", " folded", "\tfolded: x", "\r",
		"Signed-off-by: B", "(cherry picked from commit 1)", "# comment", "#", "---", "Conflicts:", "\tpath",
		"# ------------------------ >8 ------------------------", "F\u00e9: 7", "G: 8 \r", " H: 9", "http://x: y",
	}
	rapid.Check(t, func(rt *rapid.T) {
		message := strings.Join(rapid.SliceOfN(rapid.SampledFrom(lines), 0, 12).Draw(rt, "lines"), "\n")
		if rapid.Bool().Draw(rt, "finished") {
			message += "\n"
		}
		out, err := r.run([]byte(message), "interpret-trailers", "--parse", "--no-divider")
		if err != nil {
			rt.Fatalf("git interpret-trailers: %v\n%s", err, out)
		}
		var got strings.Builder
		for _, trailer := range gitobject.ParseTrailers(message) {
			got.WriteString(trailer.Key + ": " + trailer.Value + "\n")
		}
		if diff := cmp.Diff(out, got.String()); diff != "" {
			rt.Fatalf("trailers of %q: -git, +ours:\n%s", message, diff)
		}
	})
}
