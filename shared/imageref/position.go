package imageref

import "go.yaml.in/yaml/v3"

// Style is how a scalar is written.
type Style uint8

// The styles in which a scalar can be edited.
const (
	Plain Style = iota
	SingleQuoted
	DoubleQuoted
)

func (s Style) String() string {
	switch s {
	case SingleQuoted:
		return "single-quoted"
	case DoubleQuoted:
		return "double-quoted"
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
	Style Style
	// Comment is the comment that ends the scalar's line, without "#" and the
	// blanks around it.
	Comment string
	// Locked says why this position cannot be edited; empty if it can.
	Locked string
}

// Find returns every image position of a manifest file, in the order of the
// file: the images of all containers, and image volumes, of the kinds that carry
// a PodSpec and are built into Kubernetes, in all its YAML documents and in
// Lists. Documents of other kinds have none.
//
// The error names the line of what is not YAML, is ambiguous, or is beyond the
// limits of this package.
func Find(file []byte) ([]Position, error) {
	s, err := read(file)
	if err != nil {
		return nil, err
	}
	return positionsOf(find(s)), nil
}

// target is a position with the node it was found at.
type target struct {
	Position
	node *yaml.Node
}

func positionsOf(targets []target) []Position {
	var positions []Position
	for _, t := range targets {
		positions = append(positions, t.Position)
	}
	return positions
}
