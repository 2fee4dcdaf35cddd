//go:build linux

package nodetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// guide is what a page says to type: the texts of its code blocks, by the heading
// that they stand under.
type guide map[string][]string

// readGuide reads a page.
func readGuide(page string) guide {
	const fence = "```"
	g := guide{}
	heading, block, inside := "", []string(nil), false
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, fence) && inside:
			g[heading] = append(g[heading], strings.Join(block, "\n")+"\n")
			inside = false
		case strings.HasPrefix(line, fence):
			block, inside = nil, true
		case inside:
			block = append(block, line)
		case strings.HasPrefix(line, "## "):
			heading = strings.TrimPrefix(line, "## ")
		}
	}
	return g
}

func TestReadGuide(t *testing.T) {
	page := "# Page\n\n```\nzero\n```\n## 1. First\n\n```\n## no heading\none\n```\ntext `code`\n```yaml\ntwo: 2\n```\n## 2. Second\n"
	want := guide{"": {"zero\n"}, "1. First": {"## no heading\none\n", "two: 2\n"}}
	if diff := cmp.Diff(want, readGuide(page)); diff != "" {
		t.Errorf("readGuide(...): -want, +got:\n%s", diff)
	}
}

// block is one code block of the guide, in which every old text is replaced by the
// new one after it. All of them must be there.
func (w *world) block(t *testing.T, heading string, number int, oldnew ...string) string {
	t.Helper()
	blocks := w.guide[heading]
	if number >= len(blocks) {
		t.Fatalf("docs/install.md, %q: %d code blocks, want number %d", heading, len(blocks), number)
	}
	text, err := replaceAll(blocks[number], oldnew...)
	if err != nil {
		t.Fatalf("docs/install.md, %q, code block %d: %v", heading, number, err)
	}
	return text
}

// replaceAll replaces each old text by the new one after it.
func replaceAll(text string, oldnew ...string) (string, error) {
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			return "", fmt.Errorf("no %q in it", oldnew[i])
		}
		text = strings.ReplaceAll(text, oldnew[i], oldnew[i+1])
	}
	return text, nil
}

func TestReplaceAll(t *testing.T) {
	if got, err := replaceAll("a b a", "a", "c", "b", "a"); err != nil || got != "c a c" {
		t.Errorf("replaceAll(...): %q, %v, want each in turn", got, err)
	}
	if _, err := replaceAll("a b a", "c", "a"); err == nil {
		t.Error("replaceAll(...) of what is not there: no error")
	}
}
