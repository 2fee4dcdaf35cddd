package printable_test

import (
	"testing"
	"unicode/utf8"

	"github.com/tandem-cd/tandem/shared/printable"
)

func TestLine(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"Nothing":      {"", ""},
		"Letters":      {"größer, 大きい, \u05d2\u05d3\u05d5\u05dc", "größer, 大きい, \u05d2\u05d3\u05d5\u05dc"},
		"Accent":       {"e\u0301", "e\u0301"},
		"Lines":        {"a\nb\tc\r\nd\u2028e\u0085f", "a b c\ufffd d\ufffde\ufffdf"},
		"Escape":       {"\x1b[2J\u009b31m", "\ufffd[2J\ufffd31m"},
		"Control":      {"a\x00\x07\x08\x7f", "a\ufffd\ufffd\ufffd\ufffd"},
		"Direction":    {"a\u202eb\u2066c\u200fd", "a\ufffdb\ufffdc\ufffdd"},
		"Invisible":    {"a\u200bb\ufeffc\U000e0041d", "a\ufffdb\ufffdc\ufffdd"},
		"NotUTF8":      {"a\xffb", "a\ufffdb"},
		"NoBreakSpace": {"a\u00a0b\u3000c", "a\u00a0b\u3000c"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := printable.Line(tc.text)
			if got != tc.want || !utf8.ValidString(got) {
				t.Errorf("Line(%q) = %q, want %q", tc.text, got, tc.want)
			}
			if again := printable.Line(got); again != got {
				t.Errorf("Line(%q) = %q; want what is printable as it is", got, again)
			}
		})
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	if got, want := printable.Lines("a\x1b\n\tb\n"), "a\ufffd\n b\n"; got != want {
		t.Errorf("Lines: %q, want %q", got, want)
	}
}
