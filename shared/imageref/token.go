package imageref

import (
	"bytes"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scanToken returns the style and the length in bytes of the scalar that b starts
// with, quotes included; length 0 if it is not on one line or not the scalar the
// parser saw there.
func scanToken(b []byte, n *yaml.Node) (Style, int) {
	switch {
	case n.Style&yaml.SingleQuotedStyle != 0:
		return SingleQuoted, sameText(b, quotedLen(b, '\''), "'", n.Value)
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return DoubleQuoted, sameText(b, quotedLen(b, '"'), `\`, n.Value)
	case bytes.HasPrefix(b, []byte(n.Value)) && !containsBreak(n.Value):
		return Plain, len(n.Value)
	}
	return Plain, 0
}

// sameText returns the length of a quoted scalar if its text is the value that the
// parser read; a text with escapes is not compared.
func sameText(b []byte, length int, escape, value string) int {
	if length == 0 {
		return 0
	}
	if text := string(b[1 : length-1]); text != value && !strings.Contains(text, escape) {
		return 0
	}
	return length
}

func containsBreak(s string) bool {
	for i := range len(s) {
		if breakLen([]byte(s[i:min(i+3, len(s))])) > 0 {
			return true
		}
	}
	return false
}

// quotedLen returns the length of the quoted scalar that b starts with, 0 if it
// does not end on its line.
func quotedLen(b []byte, quote byte) int {
	if len(b) == 0 || b[0] != quote {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch {
		case breakLen(b[i:]) > 0:
			return 0
		case quote == '"' && b[i] == '\\':
			i++
			if i < len(b) && breakLen(b[i:]) > 0 {
				return 0
			}
		case b[i] != quote:
		case quote == '\'' && i+1 < len(b) && b[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return 0
}

// comment returns the comment in what follows a scalar on its line. Quoted text
// that follows in a flow collection may hold a "#" of its own.
func comment(rest []byte) string {
	for i := 0; i < len(rest); i++ {
		blankBefore := i == 0 || rest[i-1] == ' ' || rest[i-1] == '\t'
		switch c := rest[i]; {
		case c == '#' && blankBefore && i > 0:
			return string(bytes.TrimSpace(rest[i+1:]))
		case (c == '"' || c == '\'') && (blankBefore || strings.IndexByte("[{,:", rest[i-1]) >= 0):
			if n := quotedLen(rest[i:], c); n > 0 {
				i += n - 1
			}
		}
	}
	return ""
}

// ambiguous matches what some YAML parser may read as something other than a
// string although it follows the grammar of a reference: words, numbers in all
// notations including sexagesimal, dates. It matches too much rather than too
// little; what it matches is quoted.
var ambiguous = regexp.MustCompile(`(?i)^(y|yes|n|no|on|off|true|false|null|nan|inf|[0-9][0-9a-f_.:xobtz+-]*)$`)

// version matches what looks like numbers, but is none for any parser in use.
var version = regexp.MustCompile(`^[0-9]+(\.[0-9]+){2,}$`)

func isAmbiguous(value string) bool {
	return ambiguous.MatchString(value) && !version.MatchString(value)
}

// render writes a reference as a scalar in the style of the position it is for.
func render(style Style, value string) string {
	switch {
	case style == Raw:
		return value
	case style == SingleQuoted:
		return "'" + value + "'"
	case style == DoubleQuoted, isAmbiguous(value):
		return `"` + value + `"`
	}
	return value
}

// isReferenceByte tells the characters of a reference. None of them ends a
// scalar, starts a comment or opens a node in any context of YAML, except that a
// colon at the end of a plain scalar would; a reference does not end with one.
func isReferenceByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._-/:@", c) >= 0
}

// referenceToken returns the style, the text and the length of the scalar that b
// starts with if all of it is characters of a reference; length 0 otherwise. Raw
// text has no quotes of its own.
func referenceToken(b []byte, raw bool) (style Style, text string, length int) {
	if raw {
		for length < len(b) && isReferenceByte(b[length]) {
			length++
		}
		return Raw, string(b[:length]), length
	}
	if len(b) > 0 && b[0] == '\'' {
		style = SingleQuoted
	} else if len(b) > 0 && b[0] == '"' {
		style = DoubleQuoted
	}
	open := 0
	if style != Plain {
		open = 1
	}
	end := open
	for end < len(b) && isReferenceByte(b[end]) {
		end++
	}
	text = string(b[open:end])
	if style == Plain {
		return style, text, end
	}
	if end >= len(b) || b[end] != b[0] {
		return style, "", 0
	}
	return style, text, end + 1
}
