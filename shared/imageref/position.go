package imageref

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// Style is how a scalar is written.
type Style uint8

// The styles in which a scalar can be edited.
const (
	Plain Style = iota
	SingleQuoted
	DoubleQuoted
	// Raw is text that ends where the characters of a reference do.
	Raw
)

func (s Style) String() string {
	switch s {
	case SingleQuoted:
		return "single-quoted"
	case DoubleQuoted:
		return "double-quoted"
	case Raw:
		return "text"
	case Plain:
	}
	return "plain"
}

// Position is a place in a file where an image reference stands.
type Position struct {
	// Document counts the YAML documents of the file from 0.
	Document int
	// Path says where it is in words of the manifest:
	// "Deployment/web spec.template.spec.containers[0].image".
	Path string
	// Line and Column of the scalar count from 1, the column in characters.
	Line   int
	Column int
	// Start and End are the byte range of the scalar, quotes included. The range
	// of a locked position may be empty.
	Start int
	End   int
	// Value is the scalar's text without quotes; what an alias stands for.
	Value string
	// Part says what of an image the value is.
	Part Part
	// Image is what all parts of the image say together. Its repository is empty
	// where the file does not tell it.
	Image Reference
	// Group has the same number for all parts of one image.
	Group int
	// Joined is whether a tag takes the digest along, as "1.4.0@sha256:...".
	Joined bool
	// Fixed is whether the repository has to stay: it has wherever the position is
	// one because of how it looks, and not because Kubernetes says so.
	Fixed bool
	Style Style
	// Comment is the comment that ends the scalar's line, without "#" and the
	// blanks around it.
	Comment string
	// Marker is the one that says which image this is.
	Marker Marker
	// ByMarker is whether the marker alone makes this a position.
	ByMarker bool
	// Unread is whether this is text that may have images and cannot be read.
	Unread bool
	// Locked says why this position cannot be edited; empty if it can.
	Locked string
}

// Find returns every image position of a file, in the order of the file; the
// documentation of the package says which there are. The name of the file, a path
// with slashes, says how it is read.
//
// The error names the line of what is not YAML, is ambiguous, or is beyond the
// limits of this package.
func Find(name string, file []byte) ([]Position, error) {
	s, err := read(name, file)
	if err != nil {
		return nil, err
	}
	return positionsOf(find(s)), nil
}

// Reads tells whether [Find] looks into a file: into YAML and JSON, by the name,
// and into other text that has a marker.
func Reads(name string, file []byte) bool {
	if isOurs(name) {
		return false
	}
	return isYAML(name) || mayHaveMarker(file) && bytes.IndexByte(file, 0) < 0
}

// target is a position with the node it was found at.
type target struct {
	Position
	node *yaml.Node
	// prefix is what the scalar has before the value.
	prefix string
	// in is the text that the position stands in, if it is one in a text, and
	// innerStart and innerEnd are its range there.
	in                   *nested
	innerStart, innerEnd int
}

func positionsOf(targets []target) []Position {
	var positions []Position
	for _, t := range targets {
		positions = append(positions, t.Position)
	}
	return positions
}
