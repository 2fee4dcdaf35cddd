package imageref

import (
	"fmt"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// nested is YAML that stands as text in YAML: the values of an Application, the
// patches of a Kustomization, the files in a ConfigMap.
type nested struct {
	node *yaml.Node
	text *source
	// line is the line of the file above the text's first, indent its blanks.
	line, indent int
	// starts are the offsets of the text's lines.
	starts []int
}

// nestedIn looks for images in text that is YAML. What cannot be looked into is
// noted if it may have one.
func (f *finder) nestedIn(p place) {
	node := p.node
	if !strings.Contains(node.Value, "image") && !mayHaveMarker([]byte(node.Value)) {
		return
	}
	t := f.target(p)
	t.Unread, t.Fixed = true, true
	inner, reason := f.readNested(node)
	if reason != "" {
		f.images++
		t.Locked, t.Group = reason, f.images
		f.found = append(f.found, t)
		return
	}
	f.source.nested = append(f.source.nested, inner)
	groups := f.images
	for _, found := range find(inner.text) {
		found.innerStart, found.innerEnd, found.in = found.Start, found.End, inner
		found.Start, found.End = f.outside(inner, found.Start), f.outside(inner, found.End)
		found.Document, found.Fixed = f.document, true
		found.Line, found.Column = found.Line+inner.line, found.Column+inner.indent
		found.Path = p.String() + ": " + found.Path
		found.Group += groups
		f.images = max(f.images, found.Group)
		if found.Locked == "" {
			found.Locked = p.locked
		}
		f.found = append(f.found, found)
	}
}

// readNested parses a literal block. Only there is each line of the text a line of
// the file, and each character one of the file's.
func (f *finder) readNested(node *yaml.Node) (*nested, string) {
	switch {
	case f.source.inner:
		return nil, "it is text in text; write it as YAML to have it edited"
	case node.Style&yaml.LiteralStyle == 0:
		return nil, `it is YAML in a text that is not a literal block; begin it with "|" to have it edited`
	}
	inner := &nested{node: node, line: node.Line, indent: -1}
	start := 0
	for i, line := range strings.Split(node.Value, "\n") {
		inner.starts = append(inner.starts, start)
		start += len(line) + 1
		if line == "" {
			continue
		}
		at := node.Line + i // counted from 0, this is the line below
		if at >= len(f.lines.lines) {
			return nil, "its lines are not clear"
		}
		outer := string(f.lines.rest(f.lines.lines[at].offset))
		blanks, found := strings.CutSuffix(outer, line)
		if inner.indent < 0 {
			inner.indent = len(blanks)
		}
		if !found || len(blanks) != inner.indent || strings.Trim(blanks, " ") != "" {
			return nil, "its lines are not clear"
		}
	}
	text, err := read("text.yaml", []byte(node.Value))
	if err != nil {
		return nil, fmt.Sprintf("the text in it cannot be read: %v, counted from its own first line", err)
	}
	text.inner = true
	inner.text = text
	return inner, ""
}

// outside converts an offset in the text to one in the file.
func (f *finder) outside(n *nested, offset int) int {
	line := sort.SearchInts(n.starts, offset+1) - 1
	return f.lines.lines[n.line+line].offset + n.indent + offset - n.starts[line]
}

// after returns the text once changes are made in it.
func (n *nested) after(changes []change) string {
	var out strings.Builder
	end := 0
	for _, c := range changes {
		if c.target.in == n {
			out.Write(n.text.file[end:c.target.innerStart])
			out.WriteString(c.token)
			end = c.target.innerEnd
		}
	}
	out.Write(n.text.file[end:])
	return out.String()
}
