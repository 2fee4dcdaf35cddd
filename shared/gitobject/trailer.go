package gitobject

import (
	"slices"
	"strings"
)

// Trailer is one "Key: value" line of a message's last paragraph.
type Trailer struct {
	Key   string
	Value string
}

// ParseTrailers reads trailers as `git interpret-trailers --parse --no-divider`
// does: from the last paragraph, if that is not the title and consists of
// trailers, or for a quarter of them when Git itself wrote one. Folded values
// come unfolded.
func ParseTrailers(message string) []Trailer {
	var trailers []Trailer
	var last *Trailer
	for _, line := range trailerBlock(message) {
		switch {
		case isSpace(line[0]) && last != nil:
			last.Value += "\n" + line
		case separator(line) >= 1:
			at := separator(line)
			trailers = append(trailers, Trailer{Key: trimSpace(line[:at]), Value: line[at+1:]})
			last = &trailers[len(trailers)-1]
		default:
			last = nil
		}
	}
	for i := range trailers {
		trailers[i].Value = unfold(trailers[i].Value)
	}
	return trailers
}

// trailerBlock is the last paragraph if it counts as trailers, else nothing.
func trailerBlock(message string) []string {
	lines := splitLines(message[:len(message)-ignoredTail(message)])
	title := titleEnd(lines)
	end := len(lines)
	for end > title && (isBlank(lines[end-1]) || isComment(lines[end-1])) {
		end--
	}
	start := end
	for start > title && !isBlank(lines[start-1]) {
		start--
	}
	if start == title || !isTrailerBlock(lines[start:end]) {
		return nil
	}
	return lines[start:end]
}

// titleEnd is the index of the blank line after the first paragraph.
func titleEnd(lines []string) int {
	for i, line := range lines {
		if !isComment(line) && isBlank(line) {
			return i
		}
	}
	return len(lines)
}

// isTrailerBlock counts from the end, because a folded line belongs to what
// stands above it.
func isTrailerBlock(lines []string) bool {
	var trailers, others, folded int
	var byGit bool
	for _, line := range slices.Backward(lines) {
		switch {
		case isComment(line):
			others, folded = others+folded, 0
		case isGitGenerated(line):
			trailers, folded, byGit = trailers+1, 0, true
		case isSpace(line[0]):
			folded++
		case separator(line) >= 1:
			trailers, folded = trailers+1, 0
		default:
			others, folded = others+folded+1, 0
		}
	}
	others += folded
	if byGit && trailers*3 >= others {
		return true
	}
	return trailers > 0 && others == 0
}

func isGitGenerated(line string) bool {
	return strings.HasPrefix(line, "Signed-off-by: ") || strings.HasPrefix(line, "(cherry picked from commit ")
}

// ignoredTail is how many bytes at the end are comments, blank lines or an
// old-style list of conflicts.
func ignoredTail(message string) int {
	cut := scissors(message)
	tail, inConflicts := 0, false // a tail at the very start is none, as in Git
	at := 0
	for at < cut {
		line, next := message[at:], len(message)
		if i := strings.IndexByte(line, '\n'); i >= 0 {
			next = at + i + 1
		}
		switch {
		case isComment(line) || line[0] == '\n':
			if tail == 0 {
				tail = at
			}
		case strings.HasPrefix(line, "Conflicts:\n"):
			inConflicts = true
			if tail == 0 {
				tail = at
			}
		case inConflicts && line[0] == '\t':
		default:
			tail, inConflicts = 0, false
		}
		at = next
	}
	if tail > 0 {
		return len(message) - tail
	}
	return len(message) - cut
}

// scissors is where `git commit --cleanup=scissors` would cut.
func scissors(message string) int {
	const line = "# ------------------------ >8 ------------------------\n"
	if strings.HasPrefix(message, line) {
		return 0
	}
	if i := strings.Index(message, "\n"+line); i >= 0 {
		return i + 1
	}
	return len(message)
}

// splitLines drops the newlines; an unfinished last line counts.
func splitLines(text string) []string {
	lines := strings.Split(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// separator is where the colon after a token stands, or -1.
func separator(line string) int {
	inSpace := false
	for i := range len(line) {
		switch c := line[i]; {
		case c == ':':
			return i
		case !inSpace && (isAlnum(c) || c == '-'):
		case i > 0 && (c == ' ' || c == '\t'):
			inSpace = true
		default:
			return -1
		}
	}
	return -1
}

// unfold puts a folded value on one line.
func unfold(value string) string {
	var b strings.Builder
	for i, line := range strings.Split(trimSpace(value), "\n") {
		if i > 0 {
			b.WriteByte(' ')
			line = strings.TrimLeft(line, spaces)
		}
		b.WriteString(line)
	}
	return trimSpace(b.String())
}

const spaces = " \t\n\r"

func trimSpace(s string) string { return strings.Trim(s, spaces) }

func isBlank(line string) bool { return trimSpace(line) == "" }

func isComment(line string) bool { return strings.HasPrefix(line, "#") }

func isSpace(c byte) bool { return strings.IndexByte(spaces, c) >= 0 }

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
