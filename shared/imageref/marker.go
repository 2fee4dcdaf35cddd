package imageref

import (
	"bytes"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Marker is a comment that says which image a value is, or a part of.
//
//	# tandem: api                            the image that a pipeline calls api
//	# tandem: api:tag                        its tag; also :digest and :name
//	# tandem: ghcr.io/acme/api:tag           the tag of an image of this repository
//	# {"$imagepolicy": "flux-system:api"}    what Flux calls api; :tag, :digest, :name
type Marker struct {
	// Image is empty where there is no marker.
	Image string
	// Part is what the value is; [Whole] if the marker does not say.
	Part Part
	// Flux is whether the marker is one of Flux. Namespace is the policy's.
	Flux      bool
	Namespace string
}

var (
	tandemMarker = regexp.MustCompile(`(?:^|#[ \t]*)tandem:[ \t]*([^\s#]+)`)
	fluxMarker   = regexp.MustCompile(`\{[ \t]*"\$imagepolicy"[ \t]*:[ \t]*"([^"\s]+)"[ \t]*\}`)
)

// mayHaveMarker tells whether text has what every marker has.
func mayHaveMarker(text []byte) bool {
	return bytes.Contains(text, []byte("tandem:")) || bytes.Contains(text, []byte("$imagepolicy"))
}

// Marked tells whether a file has what every marker has. A file that is neither
// YAML nor JSON has no image without one.
func Marked(file []byte) bool { return mayHaveMarker(file) }

// markerOf reads a comment without the sign that starts it.
func markerOf(text string) Marker {
	if match := tandemMarker.FindStringSubmatch(text); match != nil {
		image, part := cutPart(match[1])
		return Marker{Image: image, Part: part}
	}
	match := fluxMarker.FindStringSubmatch(text)
	if match == nil {
		return Marker{}
	}
	namespace, policy, found := strings.Cut(match[1], ":")
	if !found {
		return Marker{}
	}
	image, part := cutPart(policy)
	return Marker{Image: image, Part: part, Flux: true, Namespace: namespace}
}

func cutPart(text string) (string, Part) {
	for _, part := range []Part{Tag, Digest, Name} {
		if rest, ok := strings.CutSuffix(text, ":"+part.String()); ok {
			return rest, part
		}
	}
	return text, Whole
}

// Repository is the repository that a marker names by itself; ok is false if it
// gives a name that only a pipeline knows.
func (m Marker) Repository() (ref Reference, ok bool) {
	if !strings.Contains(m.Image, "/") {
		return Reference{}, false
	}
	ref, err := Parse(m.Image)
	return ref, err == nil && ref.Tag == "" && ref.Digest == ""
}

// markers notes the values that only a marker makes positions of images, and what
// markers say about the others.
func (f *finder) markers() {
	known := make(map[*yaml.Node]bool, len(f.found))
	for i := range f.found {
		f.found[i].fits()
		known[f.found[i].node] = true
	}
	m := marking{finder: f, known: known, lines: map[int]int{}}
	for i, doc := range f.docs {
		f.document = i
		for _, root := range doc.Content {
			m.count(root)
			m.walk(f.enter(place{fixed: true}, root, ""))
		}
	}
	f.assemble(m.found)
}

// fits has a position agree with its marker.
func (t *target) fits() {
	if t.Locked != "" || t.Marker.Part == Whole || t.Marker.Part == t.Part || t.Marker.Part == Digest && t.Part == Hex {
		return
	}
	t.Locked = "its marker says that it is the " + t.Marker.Part.String() + ", but it is the " + t.Part.String()
}

// marking looks for scalars that have a marker and are no positions yet.
type marking struct {
	*finder

	known map[*yaml.Node]bool
	// lines counts the values of a line.
	lines map[int]int
	found []target
}

func (m *marking) count(n *yaml.Node) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			continue
		}
		if child.Kind == yaml.ScalarNode {
			m.lines[child.Line]++
		}
		m.count(child)
	}
}

func (m *marking) walk(p place) {
	for i, child := range p.node.Content {
		fields := p.fields + "[" + itoa(i) + "]"
		if p.node.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			fields = strings.TrimPrefix(p.fields+"."+quotePlain(p.node.Content[i-1].Value), ".")
		}
		at := m.enter(p, child, fields)
		if child.Kind == yaml.ScalarNode {
			m.scalar(at)
			continue
		}
		m.walk(at)
	}
}

func (m *marking) scalar(p place) {
	if m.known[p.node] || m.names[p.node] || p.node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return
	}
	t := m.target(p)
	_, length := scanToken(m.file[t.Start:], p.node)
	if length == 0 {
		return
	}
	marker := markerOf(m.comment(t.Line, t.Start+length))
	if marker.Image == "" {
		return
	}
	if m.lines[t.Line] > 1 && t.Locked == "" {
		if imageOf(p.node.Value).Tag == "" || marker.Part != Whole {
			return // the marker is for another value of the line
		}
	}
	t.Part, t.Marker, t.Fixed, t.Value = marker.Part, marker, true, p.node.Value
	m.found = append(m.found, t)
}
