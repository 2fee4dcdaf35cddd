package imageref

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// Positions convert to offsets and back, for every character of any text.
func TestLineIndex(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		runes := rapid.SliceOfN(rapid.SampledFrom([]rune("ab é日🚀\n\r\u0085\u2028\u2029")), 0, 300).Draw(t, "text")
		text := strings.ReplaceAll(string(runes), "a", strings.Repeat("x", rapid.IntRange(1, 90).Draw(t, "wide")))
		file := rapid.SampledFrom([]string{"", bom}).Draw(t, "mark") + text
		index := newLineIndex([]byte(file))
		line, column := 1, 1
		for at := len(file) - len(text); at < len(file); {
			if l, c := index.position(at); l != line || c != column {
				t.Fatalf("position(%d) of %q = %d:%d, want %d:%d", at, file, l, c, line, column)
			}
			if got, ok := index.offset(line, column); !ok || got != at {
				t.Fatalf("offset(%d, %d) of %q = %d, %v, want %d", line, column, file, got, ok, at)
			}
			r, n := utf8.DecodeRuneInString(file[at:])
			crlf := strings.HasPrefix(file[at:], "\r\n")
			at += n
			column++
			if strings.ContainsRune("\n\r\u0085\u2028\u2029", r) && !crlf {
				line, column = line+1, 1
			}
		}
		if bytes.ContainsAny(index.rest(0), "\n\r\u0085\u2028\u2029") {
			t.Fatalf("rest(0) of %q = %q", file, index.rest(0))
		}
	})
}
