package render

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// badText finds the first line that YAML cannot hold.
func badText(content []byte) (line int, ok bool) {
	if utf8.Valid(content) {
		return 0, true
	}
	line = 1
	for len(content) > 0 {
		r, size := utf8.DecodeRune(content)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		content = content[size:]
	}
	return line, false
}

var versionDirective = regexp.MustCompile(`(?m)^%YAML[ \t]+1\.2[ \t]*(#.*)?\r?$`)

// withoutVersion blanks "%YAML 1.2", which the parser refuses although it reads such files.
func withoutVersion(content []byte) []byte {
	if !bytes.Contains(content, []byte("%YAML")) {
		return content
	}
	return versionDirective.ReplaceAllFunc(content, func(line []byte) []byte {
		blank := bytes.Repeat([]byte(" "), len(line))
		blank[0] = '#'
		return blank
	})
}

var (
	yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)
	// unknownAnchor has the text of a value that begins with "*", as a password may.
	unknownAnchor = regexp.MustCompile(`unknown anchor '.*' referenced`)
)

// syntax takes the line out of the parser's message, and values: they may be a Secret's.
func syntax(err error) (line int, message string) {
	text := err.Error()
	line = 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	text = strings.TrimPrefix(text, "yaml: ")
	text = unknownAnchor.ReplaceAllString(text, `unknown anchor; quote what begins with "*"`)
	if line > 1 && strings.HasPrefix(text, "did not find expected") {
		line++ // the parser counts these from 0, and those of the scanner from 1
	}
	return line, text
}
