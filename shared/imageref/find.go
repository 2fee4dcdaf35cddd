package imageref

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

func find(s *source) []target {
	s.nested = nil
	f := finder{source: s, comments: map[int]string{}, names: map[*yaml.Node]bool{}, marked: mayHaveMarker(s.file)}
	switch {
	case isOurs(s.name):
	case !isYAML(s.name):
		f.text()
	default:
		f.documents()
	}
	sort.SliceStable(f.found, func(i, j int) bool { return f.found[i].Start < f.found[j].Start })
	return f.found
}

// isOurs tells the files that say what Tandem does. They are never edited.
func isOurs(name string) bool { return strings.HasPrefix(name, ".tandem/") }

func (f *finder) documents() {
	for i, doc := range f.docs {
		f.document = i
		for _, root := range doc.Content {
			f.object(f.enter(place{}, root, ""), kind{})
		}
	}
	if f.marked {
		f.markers()
	}
}

// finder walks documents along the fields that lead to images.
type finder struct {
	*source

	document int
	found    []target
	// images counts them, to number their groups.
	images int
	// names holds the scalars that give images of several fields their repository.
	names map[*yaml.Node]bool
	// marked is whether some line may have a marker.
	marked bool
	// comments holds the comment of each line that was looked at, because all
	// images of a large file can stand on one line.
	comments map[int]string
}

// place is a node on the way to an image.
type place struct {
	node   *yaml.Node
	object string // "Deployment/web"
	fields string // "spec.template"
	// locked is why nothing below this node may be edited.
	locked string
	// fixed is whether repositories below this node have to stay.
	fixed bool
}

func (p place) String() string { return strings.TrimSpace(p.object + " " + p.fields) }

// enter steps from a place to a node below it.
func (f *finder) enter(from place, node *yaml.Node, fields string) place {
	to := place{node: node, object: from.object, fields: fields, locked: from.locked, fixed: from.fixed}
	if to.locked == "" && f.aliased[node] {
		to.locked = fmt.Sprintf("it is part of the anchor &%s, which is used elsewhere in the file", node.Anchor)
	}
	return to
}

// field looks up a field of a mapping. A field that is there, but only through a
// merge key or an alias, is not found: it is noted as a locked position, because
// its text stands elsewhere and counts for more than this object.
func (f *finder) field(p place, name string, required bool) (place, bool) {
	if p.node.Kind != yaml.MappingNode {
		return place{}, false
	}
	fields := strings.TrimPrefix(p.fields+"."+name, ".")
	if value := lookup(p.node, name); value != nil {
		return f.follow(f.enter(p, value, fields))
	}
	for i := 0; required && i+1 < len(p.node.Content); i += 2 {
		if key := p.node.Content[i]; key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			at := place{node: key, object: p.object, fields: fields}
			f.lock(at, "it comes through the merge key <<; write it out to have it edited")
			return place{}, false
		}
	}
	return place{}, false
}

// items returns the elements of a sequence.
func (f *finder) items(p place) []place {
	if p.node.Kind != yaml.SequenceNode {
		return nil
	}
	var items []place
	for i, node := range p.node.Content {
		item, ok := f.follow(f.enter(p, node, fmt.Sprintf("%s[%d]", p.fields, i)))
		if ok {
			items = append(items, item)
		}
	}
	return items
}

// follow stops at aliases: expanding them is how small files become huge ones,
// and what stands behind one is shared.
func (f *finder) follow(p place) (place, bool) {
	if p.node.Kind != yaml.AliasNode {
		return p, true
	}
	f.lock(p, fmt.Sprintf("it is the alias *%s; write the value out to have it edited", quotePlain(p.node.Value)))
	return place{}, false
}

func (f *finder) lock(p place, reason string) {
	f.images++
	t := f.target(p)
	if node := resolved(p.node); p.node.Kind == yaml.AliasNode && node.Kind == yaml.ScalarNode {
		t.Value = node.Value
	}
	t.Locked, t.Group, t.Image = reason, f.images, imageOf(t.Value)
	f.found = append(f.found, t)
}

func (f *finder) target(p place) target {
	start, ok := f.lines.offset(p.node.Line, p.node.Column)
	t := target{
		Position: Position{
			Document: f.document, Path: p.String(),
			Line: p.node.Line, Column: p.node.Column, Start: start, End: start,
			Locked: p.locked,
		},
		node: p.node,
	}
	if !ok && t.Locked == "" {
		t.Locked = "its place in the file is not clear"
	}
	return t
}

// imageOf reads what may be a reference; the zero Reference if it is none.
func imageOf(value string) Reference {
	ref, err := Parse(strings.TrimSpace(value))
	if err != nil {
		return Reference{}
	}
	return ref
}

// image notes the position of an image reference.
func (f *finder) image(p place) {
	f.images++
	t := f.target(p)
	t.Group, t.Fixed, t.Image = f.images, p.fixed, imageOf(p.node.Value)
	f.note(t)
}

// note completes a position with what stands there.
func (f *finder) note(t target) {
	if t.Style == Raw {
		if reason := f.grammar(t); t.Locked == "" {
			t.Locked = reason
		}
		f.found = append(f.found, t)
		return
	}
	if t.node.Kind == yaml.AliasNode {
		t.Value, t.Locked = resolved(t.node).Value, fmt.Sprintf("it is the alias *%s; write the value out to have it edited", quotePlain(t.node.Value))
	}
	if t.node.Kind == yaml.ScalarNode {
		t.Value = t.node.Value
	}
	if reason := f.scan(&t); t.Locked == "" {
		t.Locked = reason
	}
	f.found = append(f.found, t)
}

// scan finds the bytes of a scalar. It returns why they cannot be replaced.
func (f *finder) scan(t *target) string {
	n := t.node
	switch {
	case n.Kind != yaml.ScalarNode:
		return "it is not a string"
	case n.Anchor != "":
		return fmt.Sprintf("it has the anchor &%s; remove the anchor to have it edited", quotePlain(n.Anchor))
	case n.Style&yaml.TaggedStyle != 0:
		return fmt.Sprintf("it has the tag %s; remove the tag to have it edited", quotePlain(n.Tag))
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return "it is a block scalar; write it on one line to have it edited"
	case n.Value == "" && t.Part == Whole:
		return `it is empty`
	case notText(n, t.Part) != "":
		return notText(n, t.Part)
	}
	style, length := scanToken(f.file[t.Start:], n)
	if length == 0 {
		return "it does not stand on one line"
	}
	t.Style, t.End = style, t.Start+length
	if t.End < len(f.file) && isReferenceByte(f.file[t.End]) {
		return fmt.Sprintf("it runs into the %q that follows it", f.file[t.End])
	}
	t.Comment = f.comment(t.Line, t.End)
	if m := markerOf(t.Comment); m.Image != "" {
		t.Marker = m
	}
	return f.grammar(*t)
}

// grammar says what is wrong with a value.
func (f *finder) grammar(t target) string {
	if t.Value == "" && t.Part != Whole {
		return ""
	}
	if _, err := t.read(t.Value); err != nil {
		return fmt.Sprintf("it is not %s: %s", article(t.Part), strings.TrimPrefix(err.Error(), "image reference "))
	}
	return ""
}

func article(p Part) string {
	if p == Whole {
		return "an image reference"
	}
	return "a " + p.String()
}

func (f *finder) comment(line, after int) string {
	text, found := f.comments[line]
	if !found {
		text = comment(f.lines.rest(after))
		f.comments[line] = text
	}
	return text
}

// quotePlain bounds and, where it must, quotes a name taken from the file.
func quotePlain(s string) string {
	if len(s) < 64 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		return s
	}
	if q := quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}

func itoa(i int) string { return strconv.Itoa(i) }

func sortedKeys(m fields) []string { return slices.Sorted(maps.Keys(m)) }
