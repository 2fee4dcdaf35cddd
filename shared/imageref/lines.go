package imageref

import (
	"bytes"
	"sort"
	"unicode/utf8"
)

const bom = "\xef\xbb\xbf"

// lineIndex converts between byte offsets and the lines and columns of the YAML
// parser. It MUST count as libyaml does: CR, LF, CRLF, NEL, LS and PS all end a
// line, columns are characters and not bytes, and a byte order mark at the start
// of the file is not part of the first line.
type lineIndex struct {
	file []byte
	// lines holds where each line starts.
	lines []lineStart
	// marks holds the byte offset of every markEvery-th character, so that a
	// position on a line of megabytes is found without reading the line.
	marks []int
}

type lineStart struct{ offset, rune int }

const markEvery = 64

func newLineIndex(file []byte) lineIndex {
	at, runes := 0, 0
	if bytes.HasPrefix(file, []byte(bom)) {
		at = len(bom)
	}
	x := lineIndex{file: file, lines: []lineStart{{at, 0}}}
	for at < len(file) {
		if runes%markEvery == 0 {
			x.marks = append(x.marks, at)
		}
		ends := breakLen(file[at:])
		_, n := utf8.DecodeRune(file[at:])
		at, runes = at+n, runes+1
		if ends == n {
			x.lines = append(x.lines, lineStart{at, runes})
		}
	}
	return x
}

// breakLen returns the length of the line break b starts with, or 0.
func breakLen(b []byte) int {
	switch {
	case len(b) == 0:
		return 0
	case b[0] == '\n':
		return 1
	case b[0] == '\r':
		if len(b) > 1 && b[1] == '\n' {
			return 2
		}
		return 1
	case bytes.HasPrefix(b, []byte("\u0085")):
		return 2
	case bytes.HasPrefix(b, []byte("\u2028")), bytes.HasPrefix(b, []byte("\u2029")):
		return 3
	}
	return 0
}

// offset returns the byte offset of a line and column, both counted from 1.
func (x lineIndex) offset(line, column int) (int, bool) {
	if line < 1 || line > len(x.lines) || column < 1 {
		return 0, false
	}
	wanted := x.lines[line-1].rune + column - 1
	mark := wanted / markEvery
	if mark >= len(x.marks) {
		return len(x.file), wanted == len(x.marks)*markEvery
	}
	at := x.marks[mark]
	for range wanted % markEvery {
		if at >= len(x.file) {
			return 0, false
		}
		_, n := utf8.DecodeRune(x.file[at:])
		at += n
	}
	return at, true
}

// position returns the line and column of a byte offset, both counted from 1.
func (x lineIndex) position(offset int) (line, column int) {
	line = sort.Search(len(x.lines), func(i int) bool { return x.lines[i].offset > offset })
	if line == 0 { // inside the byte order mark
		return 1, 1
	}
	start := x.lines[line-1]
	mark := sort.Search(len(x.marks), func(i int) bool { return x.marks[i] > offset }) - 1
	if mark < 0 || x.marks[mark] < start.offset {
		return line, utf8.RuneCount(x.file[start.offset:offset]) + 1
	}
	return line, mark*markEvery + utf8.RuneCount(x.file[x.marks[mark]:offset]) - start.rune + 1
}

// rest returns what follows an offset on its line, without the line break.
func (x lineIndex) rest(offset int) []byte {
	end := len(x.file)
	line, _ := x.position(offset)
	if line < len(x.lines) {
		end = x.lines[line].offset
	}
	rest := x.file[offset:end]
	for _, ending := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
		rest = bytes.TrimSuffix(rest, []byte(ending))
	}
	return rest
}
