package imageref

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// isYAML tells whether a file is read as YAML by its name. All others are text.
func isYAML(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// textMarker matches a comment that marks a line of text. Comments start in every
// way that is common where images are named.
var textMarker = regexp.MustCompile(`(?:^|[ \t])(?:#|//|--|;|/\*|<!--)[ \t]*(tandem:[ \t]*[^\s#]+|\{[ \t]*"\$imagepolicy"[^}\n]*\})`)

// text looks for images in a file that is not YAML: on lines with a marker, and
// on lines below a marker that stands alone, as in Dockerfiles.
func (f *finder) text() {
	var parts []target
	var above Marker
	for i, start := range f.lines.lines {
		line := f.lines.rest(start.offset)
		match := textMarker.FindSubmatchIndex(line)
		marker, content := above, line
		above = Marker{}
		if match != nil {
			marker, content = markerOf(string(line[match[2]:match[3]])), line[:match[0]]
			if len(bytes.TrimSpace(content)) == 0 {
				above = marker
				continue
			}
		}
		if marker.Image == "" {
			continue
		}
		parts = append(parts, f.textPart(marker, i+1, start.offset, content))
	}
	f.assemble(parts)
}

// textPart finds the value of a marked line.
func (f *finder) textPart(marker Marker, line, offset int, content []byte) target {
	from, to, reason := wholeIn(content)
	if marker.Part != Whole {
		from, to, reason = valueIn(content)
	}
	t := target{Position: Position{
		Path: fmt.Sprintf("line %d", line), Line: line, Column: len([]rune(string(content[:from]))) + 1,
		Start: offset + from, End: offset + to, Value: string(content[from:to]),
		Part: marker.Part, Marker: marker, Fixed: true, Style: Raw, Locked: reason,
	}}
	return t
}

// wholeIn finds the one reference with a version in a line of text.
func wholeIn(line []byte) (from, to int, reason string) {
	found := 0
	for i := 0; i < len(line); i++ {
		if !isReferenceByte(line[i]) {
			continue
		}
		start := i
		for i < len(line) && isReferenceByte(line[i]) {
			i++
		}
		if ref, err := Parse(string(line[start:i])); err == nil && (ref.Tag != "" || ref.Digest != "") {
			from, to = start, i
			found++
		}
	}
	if found != 1 {
		return 0, 0, fmt.Sprintf("the marked line has %d image references with a tag or a digest; it has to have one", found)
	}
	return from, to, ""
}

// valueIn finds what a line of text gives a name to: the one quoted text in it, or
// what stands at its end.
func valueIn(line []byte) (from, to int, reason string) {
	if i := bytes.IndexAny(line, `"'`); i >= 0 {
		end := bytes.IndexByte(line[i+1:], line[i])
		if end < 0 || bytes.IndexByte(line[i+1+end+1:], line[i]) >= 0 {
			return 0, 0, "the marked line has to have one quoted text"
		}
		return i + 1, i + 1 + end, ""
	}
	to = len(bytes.TrimRight(line, " \t;,"))
	from = to
	for from > 0 && isReferenceByte(line[from-1]) {
		from--
	}
	if from == to || from == 0 || !strings.ContainsRune("= \t", rune(line[from-1])) {
		return 0, 0, `the marked line has to have one quoted text, or end in a value behind "=" or a blank`
	}
	return from, to, ""
}
