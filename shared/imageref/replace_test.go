package imageref

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReplace(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		file   string
		value  string
		want   string
	}{
		"Plain": {
			reason: "everything around the value stays, odd as it is",
			file:   pod("   nginx:1\t # why\n\n\n  -   {image  :  'b' }  "),
			value:  "nginx:1.29@" + sha,
			want:   pod("   nginx:1.29@" + sha + "\t # why\n\n\n  -   {image  :  'b' }  "),
		},
		"SingleQuotes":   {"quotes are kept", pod("'nginx:1'"), "nginx:2", pod("'nginx:2'")},
		"DoubleQuotes":   {"quotes are kept", pod(`"nginx:1"`), "nginx:2", pod(`"nginx:2"`)},
		"Escapes":        {"the new value needs none", pod(`"ngin\x78:1"`), "nginx:2", pod(`"nginx:2"`)},
		"Number":         {"a name of digits alone would become a number", pod("nginx"), "1234", pod(`"1234"`)},
		"Sexagesimal":    {"YAML 1.1 reads digits and colons as one number", pod("nginx"), "190:20", pod(`"190:20"`)},
		"Float":          {"and this as a float", pod("nginx"), "1e3", pod(`"1e3"`)},
		"Boolean":        {"a word that YAML 1.1 reads as true", pod("nginx"), "on", pod(`"on"`)},
		"Null":           {"a word that is nothing", pod("nginx"), "null", pod(`"null"`)},
		"NumberInQuotes": {"quotes are there already", pod("'nginx'"), "12", pod("'12'")},
		"DigitsWithPath": {"no number has a slash in it", pod("nginx"), "10.0.0.1:5000/x:1", pod("10.0.0.1:5000/x:1")},
		"Same":           {"nothing to do, even if it could be written better", pod(`"ngin\x78:1"`), "nginx:1", pod(`"ngin\x78:1"`)},
		"NoFinalNewline": {"none is added", pod("nginx:1"), "nginx:2", pod("nginx:2")},
		"CRLF": {
			"line ends stay", strings.ReplaceAll(pod("nginx:1\n"), "\n", "\r\n"), "nginx:2",
			strings.ReplaceAll(pod("nginx:2\n"), "\n", "\r\n"),
		},
		"ByteOrderMark": {"the mark stays", "\ufeff" + pod("nginx:1\n"), "nginx:2", "\ufeff" + pod("nginx:2\n")},
		"Directive":     {"the directive stays", "%YAML 1.2\n---\n" + pod("nginx:1\n"), "nginx:2", "%YAML 1.2\n---\n" + pod("nginx:2\n")},
		"Flow": {
			"a flow mapping on one line",
			`{apiVersion: v1, kind: Pod, spec: {containers: [{image: a, name: b}]}}`, "nginx:2@" + sha,
			`{apiVersion: v1, kind: Pod, spec: {containers: [{image: nginx:2@` + sha + `, name: b}]}}`,
		},
		"FlowEnd": {
			"a brace right behind the value",
			`{apiVersion: v1, kind: Pod, spec: {containers: [{image: a}]}}`, "nginx:2",
			`{apiVersion: v1, kind: Pod, spec: {containers: [{image: nginx:2}]}}`,
		},
		"JSON": {
			"JSON stays JSON",
			`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"nginx:1"}]}}`, "nginx:2",
			`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"nginx:2"}]}}`,
		},
		"SecondDocument": {"documents before and after stay", "a: &x b\n---\n" + pod("nginx:1\n---\n{{}: 1}\n"), "nginx:2", "a: &x b\n---\n" + pod("nginx:2\n---\n{{}: 1}\n")},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			positions, err := Find("a.yaml", []byte(tc.file))
			if err != nil || len(positions) == 0 {
				t.Fatalf("%s: Find(...) = %v, %v; want a position", tc.reason, positions, err)
			}
			got, err := Replace("a.yaml", []byte(tc.file), []Splice{{Position: positions[0], Value: tc.value}})
			if err != nil {
				t.Fatalf("%s: Replace(...): %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("%s: Replace(...): -want, +got:\n%s", tc.reason, diff)
			}
			again, err := Find("a.yaml", got)
			if err != nil || again[0].Value != tc.value {
				t.Errorf("%s: the result reads as %v, %v; want %q", tc.reason, again, err, tc.value)
			}
		})
	}
}

func TestReplaceSeveral(t *testing.T) {
	t.Parallel()
	file := []byte(pod("a:1\n  - image: b:1\n  - image: c:1\n"))
	p, err := Find("a.yaml", file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Replace("a.yaml", file, []Splice{{p[2], "c:22"}, {p[0], "a:22"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pod("a:22\n  - image: b:1\n  - image: c:22\n"), string(got)); diff != "" {
		t.Errorf("Replace(...): -want, +got:\n%s", diff)
	}
}

func TestReplaceRefuses(t *testing.T) {
	t.Parallel()
	file := []byte(pod("a:1\n  - image: b:1\n  - image: &c c:1\n"))
	p, err := Find("a.yaml", file)
	if err != nil {
		t.Fatal(err)
	}
	moved := p[0]
	moved.Start++
	tests := map[string]struct {
		reason  string
		splices []Splice
	}{
		"NotAReference": {"a value must be a reference", []Splice{{p[0], "a: 1"}}},
		"Injection":     {"above all, one line of one", []Splice{{p[0], "a:1\n    command: [sh]"}}},
		"Locked":        {"the position has an anchor", []Splice{{p[2], "c:2"}}},
		"Moved":         {"the position is of another file", []Splice{{moved, "a:2"}}},
		"Twice":         {"one position cannot have two values", []Splice{{p[0], "a:2"}, {p[0], "a:3"}}},
		"OneOfTwo":      {"all are written or none", []Splice{{p[0], "a:2"}, {p[2], "c:3"}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := Replace("a.yaml", file, tc.splices); err == nil {
				t.Errorf("%s: Replace(...) = %q, want an error", tc.reason, got)
			}
		})
	}
}
