package rules

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		if p.generated() || len(p.files) == 0 { // a package of tests needs none
			continue
		}
		if !strings.HasPrefix(p.doc, "Package ") && !strings.HasPrefix(p.doc, "Command ") {
			t.Errorf("%s: no package comment that begins with Package or Command: say in a sentence what it gives", p.path)
		}
	}
}

// machinePath finds absolute folders that exist on the machine of whoever wrote
// the line, and nowhere else.
var machinePath = regexp.MustCompile(`(^|[^[:alnum:]_.-])/(work|farm|root)/[[:alnum:]_.-]`)

func TestNoMachinePaths(t *testing.T) {
	names := strings.FieldsFunc(string(run(t, "git", "ls-files", "-z")), func(r rune) bool { return r == 0 })
	if len(names) == 0 {
		t.Fatal("git lists no files")
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".sum") || strings.Contains(name, "/testdata/") {
			continue
		}
		for number, line := range bytes.Split(read(t, name), []byte("\n")) {
			if machinePath.Match(line) {
				t.Errorf("%s:%d: absolute path of a machine: %s", name, number+1, bytes.TrimSpace(line))
			}
		}
	}
}

func TestMachinePathSeesBreaches(t *testing.T) {
	cases := map[string]struct {
		reason string
		line   string
		want   bool
	}{
		"Home":     {reason: "Nobody else has that home.", line: "see /" + "root/notes.md", want: true},
		"Quoted":   {reason: "Code is full of quotes.", line: `"/` + `work/main"`, want: true},
		"Relative": {reason: "A folder of the tree may have that name.", line: "docs/" + "work/main", want: false},
		"URL":      {reason: "A host's path is no path of ours.", line: "https://example.com/" + "root/x", want: false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := machinePath.MatchString(tc.line); got != tc.want {
				t.Errorf("%s: machinePath(%q): %v, want %v", tc.reason, tc.line, got, tc.want)
			}
		})
	}
}
