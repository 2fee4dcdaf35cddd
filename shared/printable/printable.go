// Package printable keeps foreign text from steering a terminal, and from reading otherwise than it is.
package printable

import (
	"strings"
	"unicode"
)

// Line returns a text on one line: the end of a line and a tab are spaces, and what a terminal obeys or does not show, such as an
// escape or a change of the direction of reading, is U+FFFD. It is valid UTF-8.
func Line(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsGraphic(r):
			return r
		default:
			return unicode.ReplacementChar
		}
	}, text)
}

// Lines returns each line of a text as Line does.
func Lines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = Line(line)
	}
	return strings.Join(lines, "\n")
}
