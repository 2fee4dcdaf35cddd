package imageref

import (
	"fmt"
	"sort"
)

// Splice is one value to write.
type Splice struct {
	// Position is one that [Find] returned for the same bytes.
	Position Position
	// Value is the text to write: see [Position.Text].
	Value string
}

// Replace writes the values into the file, byte for byte like the original
// elsewhere. A value keeps the quotes of the one it replaces; a plain one gets
// quotes if YAML could take it for something other than a string. Values that
// are there already change nothing.
//
// The result is parsed again and compared with the original; if anything but the
// intended values differed, there is an error and no result. [OnlyImagesChanged]
// accepts every result.
func Replace(name string, file []byte, splices []Splice) ([]byte, error) {
	s, err := read(name, file)
	if err != nil {
		return nil, err
	}
	targets := find(s)
	wanted, err := match(targets, splices)
	if err != nil {
		return nil, err
	}
	edited := make([]byte, 0, len(file)+len(wanted)*len(splices))
	end := 0
	for _, t := range targets {
		value, found := wanted[t.Start]
		if !found || t.Locked != "" {
			continue
		}
		edited = append(edited, file[end:t.Start]...)
		edited = append(edited, render(t.Style, value)...)
		end = t.End
	}
	edited = append(edited, file[end:]...)
	if err := prove(s, targets, edited, wanted); err != nil {
		return nil, err
	}
	return edited, nil
}

// match returns the values to write by the offset they go to, without those that
// are there already.
func match(targets []target, splices []Splice) (map[int]string, error) {
	byPosition := make(map[Position]bool, len(targets))
	for _, t := range targets {
		byPosition[t.Position] = true
	}
	splices = append([]Splice(nil), splices...)
	sort.SliceStable(splices, func(i, j int) bool { return splices[i].Position.Start < splices[j].Position.Start })
	wanted := make(map[int]string, len(splices))
	for i, splice := range splices {
		p := splice.Position
		refuse := func(format string, args ...any) error {
			return &Error{Line: p.Line, Column: p.Column, Reason: p.Path + ": " + fmt.Sprintf(format, args...)}
		}
		switch image, err := p.read(splice.Value); {
		case !byPosition[p]:
			return nil, refuse("no such position in this file; it was found in other bytes")
		case p.Locked != "":
			return nil, refuse("cannot be edited: %s", p.Locked)
		case err != nil:
			return nil, refuse("%v", err)
		case p.may(image) != nil:
			return nil, refuse("%v", p.may(image))
		case i > 0 && splices[i-1].Position.Start == p.Start:
			return nil, refuse("two values for one position")
		}
		if splice.Value != p.Value {
			wanted[p.Start] = splice.Value
		}
	}
	return wanted, nil
}

// prove has the verifier look at what was edited.
func prove(s *source, targets []target, edited []byte, wanted map[int]string) error {
	changes, err := compare(s, targets, edited)
	if err != nil {
		return err
	}
	if len(changes) != len(wanted) {
		return &Error{Reason: fmt.Sprintf("%d values would change instead of %d", len(changes), len(wanted))}
	}
	for _, c := range changes {
		if wanted[c.target.Start] != c.value {
			return s.errorAt(c.target.Start, "%s would become %s instead of %s", c.target.Path, quote(c.value), quote(wanted[c.target.Start]))
		}
	}
	return nil
}
