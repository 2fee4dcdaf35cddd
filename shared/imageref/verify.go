package imageref

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Changed is an image that one file has instead of another.
type Changed struct {
	// Position is the one in the file as it was before.
	Position Position
	Old      Reference
	New      Reference
}

// OnlyImagesChanged proves that after is before with other references, tags and
// digests at image positions of before, and byte for byte the same elsewhere. It
// returns what changed, in the order of the file. An image whose repository the
// file does not tell has an empty name.
//
// allowed is asked for every change; what it returns is the reason for refusing
// it. If allowed is nil, the repository may not change.
//
// The error names the line and what else differs. Locked positions do not count
// as image positions: see [Position].
func OnlyImagesChanged(name string, before, after []byte, allowed func(was, became Reference) error) ([]Changed, error) {
	if bytes.Equal(before, after) {
		return nil, nil
	}
	if allowed == nil {
		allowed = sameRepository
	}
	s, err := read(name, before)
	if err != nil {
		return nil, err
	}
	changes, err := compare(s, find(s), after)
	if err != nil {
		return nil, err
	}
	changed := make([]Changed, 0, len(changes))
	for _, c := range changes {
		if err := allowed(c.old, c.new); err != nil {
			refused := s.errorAt(c.target.Start, "%s: %v", c.target.Path, err)
			refused.cause = err
			return nil, refused
		}
		changed = append(changed, Changed{Position: c.target.Position, Old: c.old, New: c.new})
	}
	return changed, nil
}

func sameRepository(before, after Reference) error {
	if before.Name() != after.Name() {
		return fmt.Errorf("the repository %s became %s", before.Name(), after.Name())
	}
	return nil
}

// change is a scalar that differs.
type change struct {
	target   target
	value    string
	token    string // with its quotes
	old, new Reference
}

// compare aligns after with before, image position by image position. It reads
// nothing of after but what is equal to before, and tokens in the grammar of
// references; only then is after parsed, to prove that the trees are equal too.
func compare(s *source, targets []target, after []byte) ([]change, error) {
	var changes []change
	end, cursor := 0, 0
	for _, t := range targets {
		if t.Locked != "" {
			continue
		}
		if err := s.sameBytes(targets, end, t.Start, after[cursor:]); err != nil {
			return nil, err
		}
		cursor += t.Start - end
		end = t.End
		length, c, err := s.token(t, after[cursor:])
		if err != nil {
			return nil, err
		}
		cursor += length
		if c != nil {
			changes = append(changes, *c)
		}
	}
	if err := s.sameBytes(targets, end, len(s.file), after[cursor:]); err != nil {
		return nil, err
	}
	if rest := after[cursor+len(s.file)-end:]; len(rest) > 0 {
		return nil, s.errorAt(len(s.file), "something was added at the end")
	}
	if len(changes) == 0 {
		return nil, nil
	}
	return changes, s.sameMeaning(targets, changes, after)
}

// sameBytes checks that after starts with the bytes of the file from start to end.
func (s *source) sameBytes(targets []target, start, end int, after []byte) error {
	before := s.file[start:end]
	if bytes.HasPrefix(after, before) {
		return nil
	}
	same := 0
	for same < len(before) && same < len(after) && before[same] == after[same] {
		same++
	}
	return s.differs(targets, start+same, after[same:])
}

// differs says where something became something else. What it was and is stays unsaid: it may be part of a Secret.
func (s *source) differs(targets []target, offset int, after []byte) error {
	line, _ := s.lines.position(offset)
	for _, t := range targets {
		if t.Locked != "" && t.Line == line {
			return s.errorAt(offset, "%s changed, which cannot be checked: %s", t.Path, t.Locked)
		}
	}
	if len(s.lines.rest(offset)) == 0 || len(after) == 0 {
		return s.errorAt(offset, "the line, or its end, differs")
	}
	return s.errorAt(offset, "something changed that is not an image position")
}

// token reads the scalar that after has at a position. It returns its length, and
// the change if there is one.
func (s *source) token(t target, after []byte) (int, *change, error) {
	was := s.file[t.Start:t.End]
	style, value, length := referenceToken(after, t.Style == Raw)
	if bytes.Equal(after[:length], was) {
		return length, nil, nil
	}
	if length == 0 && bytes.HasPrefix(after, was) { // escapes, which a new value has not
		return len(was), nil, nil
	}
	refuse := func(format string, args ...any) error {
		return s.errorAt(t.Start, "%s: %s", t.Path, fmt.Sprintf(format, args...))
	}
	switch {
	case length == 0 && t.Part == Whole:
		return 0, nil, refuse("became %s, which is not an image reference", quote(string(newLineIndex(after).rest(0))))
	case value == t.Value:
		return 0, nil, refuse("has the same value, but is written in another way")
	case style != t.Style && t.Style != Plain:
		return 0, nil, refuse("was %s and became %s", t.Style, style)
	case style == Plain && isAmbiguous(value):
		return 0, nil, refuse("became %s without quotes, which YAML can read as something else", value)
	}
	became, err := t.read(value)
	if err != nil {
		return 0, nil, refuse("became %v", err)
	}
	if err := t.may(became); err != nil {
		return 0, nil, refuse("%v", err)
	}
	return length, &change{target: t, value: value, token: string(after[:length]), old: t.Image, new: became}, nil
}

// sameMeaning proves that the file is read the same after the changes: an equal
// tree, in which the positions are where they were and have what they should.
func (s *source) sameMeaning(targets []target, changes []change, after []byte) error {
	other, err := read(s.name, after)
	if err != nil {
		return err
	}
	again := find(other)
	if err := s.sameTrees(changes, other); err != nil {
		return err
	}
	if len(again) != len(targets) {
		return &Error{Reason: fmt.Sprintf("%d positions of images became %d", len(targets), len(again))}
	}
	for i, t := range targets {
		want := t.Value
		if len(changes) > 0 && changes[0].target.Start == t.Start && t.Locked == "" {
			want, changes = changes[0].value, changes[1:]
		}
		if again[i].Value != want || again[i].Locked != t.Locked {
			return s.errorAt(t.Start, "%s is read as %s after the change", t.Path, quote(again[i].Value))
		}
	}
	return nil
}

// sameTrees proves that the parsed documents are equal but for the changes.
func (s *source) sameTrees(changes []change, other *source) error {
	values := make(map[*yaml.Node]string, len(changes))
	for _, c := range changes {
		values[c.target.node] = c.target.prefix + c.value
		if c.target.in != nil {
			values[c.target.in.node] = c.target.in.after(changes)
		}
	}
	if err := sameDocuments(s.docs, other.docs, values); err != nil {
		return err
	}
	if len(s.nested) != len(other.nested) {
		return &Error{Reason: fmt.Sprintf("%d texts with YAML became %d", len(s.nested), len(other.nested))}
	}
	for i, n := range s.nested {
		if err := sameDocuments(n.text.docs, other.nested[i].text.docs, values); err != nil {
			return err
		}
	}
	return nil
}

func sameDocuments(docs, other []*yaml.Node, values map[*yaml.Node]string) error {
	if len(docs) != len(other) {
		return &Error{Reason: fmt.Sprintf("%d YAML documents became %d", len(docs), len(other))}
	}
	for i := range docs {
		if err := sameNode(docs[i], other[i], values); err != nil {
			return err
		}
	}
	return nil
}

// sameNode compares two nodes, which must be equal but for the values. Aliases
// are compared by name: what they stand for is compared where it stands.
func sameNode(a, b *yaml.Node, values map[*yaml.Node]string) error {
	want, changed := values[a]
	if !changed {
		want = a.Value
	}
	same := a.Kind == b.Kind && (a.ShortTag() == b.ShortTag() || changed && b.ShortTag() == "!!str") && b.Value == want && a.Anchor == b.Anchor &&
		a.Line == b.Line && len(a.Content) == len(b.Content) && (changed || a.Style == b.Style)
	if !same {
		return &Error{Line: a.Line, Column: a.Column, Reason: "it is read as something else after the change"}
	}
	for i := range a.Content {
		if err := sameNode(a.Content[i], b.Content[i], values); err != nil {
			return err
		}
	}
	return nil
}
