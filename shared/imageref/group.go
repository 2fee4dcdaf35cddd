package imageref

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fields are the keys of a mapping in the way they are compared.
type fields map[string]*yaml.Node

// groups notes the images of a mapping that are written in several fields. It
// returns the nodes that belong to them.
func (f *finder) groups(p place, key string) map[*yaml.Node]bool {
	s := scope{place: p, parent: key, taken: map[*yaml.Node]bool{}}
	for i := 0; i+1 < len(p.node.Content); i += 2 {
		name := p.node.Content[i]
		if name.Kind != yaml.ScalarNode || !isVersionKey(name.Value) {
			continue
		}
		if s.all == nil {
			s.all = fieldsOf(p.node)
		}
		f.freeGroup(s, plainKey(name.Value))
	}
	return s.taken
}

// scope is where the fields of an image are looked for.
type scope struct {
	place

	parent string // the key of the place
	all    fields
	// labels say where fields stand that are not those of the place.
	labels map[*yaml.Node]string
	// taken are the nodes that belong to an image.
	taken map[*yaml.Node]bool
}

// versionKeys end the names of fields with a version, the longer ones first.
func versionKeys() [4]string { return [...]string{"sha256", "digest", "sha", "tag"} }

func isVersionKey(key string) bool {
	for _, ending := range versionKeys() {
		if hasSuffixFold(key, ending) {
			return true
		}
	}
	return false
}

func fieldsOf(mapping *yaml.Node) fields {
	all := make(fields, len(mapping.Content)/2)
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if key := mapping.Content[i]; key.Kind == yaml.ScalarNode {
			all[plainKey(key.Value)] = mapping.Content[i+1]
		}
	}
	return all
}

// freeGroup notes the image that a field is the tag or the digest of.
func (f *finder) freeGroup(s scope, key string) {
	stem := key
	for _, ending := range versionKeys() {
		if rest, ok := strings.CutSuffix(key, ending); ok {
			stem = rest
			break
		}
	}
	g := group{place: s.place, labels: s.labels, tag: s.all[stem+"tag"], digest: s.all[stem+"digest"], hex: s.all[stem+"sha"]}
	if g.hex == nil {
		g.hex = s.all[stem+"sha256"]
	}
	if !strings.HasSuffix(key, "tag") && g.tag != nil {
		return // noted at its tag
	}
	name := g.findName(stem, s.parent, s.all)
	if name == nil {
		return
	}
	for _, node := range []*yaml.Node{name, g.tag, g.digest, g.hex} {
		s.taken[node] = true
	}
	g.name = name
	f.group(g)
}

// findName looks for the repository that a version with the given stem is of.
func (g *group) findName(stem, parent string, all fields) *yaml.Node {
	image := isImageKey(parent)
	keys := []string{stem + "imagerepository", stem + "repository", stem + "image"}
	switch {
	case stem == "":
		keys = append(keys, "imagename", "repo", "name")
	case strings.HasSuffix(stem, "image"):
		keys = []string{stem + "repository", stem + "repo", stem + "name", stem}
		if stem == "image" {
			keys = append(keys, "repository")
		}
	}
	registry := textOf(all[stem+"registry"])
	if registry == "" {
		registry = textOf(all["registry"])
	}
	for _, key := range keys {
		node := all[key]
		name := textOf(node)
		if name == "" || key == "name" && !image {
			continue
		}
		if registry != "" {
			name = registry + "/" + name
		}
		ref, err := Parse(name)
		if err != nil || ref.Tag != "" || ref.Digest != "" {
			continue
		}
		// A repository with a tag may also be one of Git, or of charts.
		if sure := image || strings.Contains(key, "image"); !sure && (!namesHost(name) || namesOther(parent)) {
			continue
		}
		g.image = ref
		return node
	}
	return nil
}

func namesHost(name string) bool {
	host, _, found := strings.Cut(name, "/")
	return found && (host == "localhost" || strings.ContainsAny(host, ".:"))
}

func namesOther(parent string) bool {
	parent = plainKey(parent)
	return strings.Contains(parent, "git") || strings.Contains(parent, "chart") || strings.Contains(parent, "source")
}

func textOf(node *yaml.Node) string {
	if node == nil {
		return ""
	}
	if node = resolved(node); node.Kind == yaml.ScalarNode && node.ShortTag() == "!!str" {
		return node.Value
	}
	return ""
}

// group is an image whose parts are fields of one mapping. Its repository is read
// only; a missing part is nil.
type group struct {
	place

	image Reference // the repository
	name  *yaml.Node
	// labels say where parts stand that are not fields of the place.
	labels           map[*yaml.Node]string
	tag, digest, hex *yaml.Node
}

// group notes the parts of an image.
func (f *finder) group(g group) {
	f.images++
	if g.name != nil {
		f.names[g.name] = true
	}
	apart := g.digest != nil || g.hex != nil
	g.image.Digest = valueOf(g.digest)
	if g.image.Digest == "" && valueOf(g.hex) != "" {
		g.image.Digest = "sha256:" + valueOf(g.hex)
	}
	g.image = joinTag(g.image, valueOf(g.tag), apart)
	if g.tag == nil {
		g.locked = "it has a digest and no tag; add the tag, which says what version this is"
	}
	parts := []struct {
		part Part
		node *yaml.Node
	}{{Tag, g.tag}, {Digest, g.digest}, {Hex, g.hex}}
	for _, x := range parts {
		if x.node == nil {
			continue
		}
		where := g.fields + g.labels[x.node]
		if g.labels == nil {
			where = strings.TrimPrefix(g.fields+"."+f.keyOf(g.node, x.node), ".")
		}
		at := f.enter(g.place, x.node, where)
		t := f.target(at)
		t.Part, t.Image, t.Group, t.Fixed = x.part, g.image, f.images, true
		t.Joined = x.part == Tag && !apart
		t.Marker = f.markerOn(g.name)
		f.note(t)
	}
}

// markerOn returns the marker of the line on which a scalar ends.
func (f *finder) markerOn(n *yaml.Node) Marker {
	if !f.marked || n == nil || n.Kind != yaml.ScalarNode {
		return Marker{}
	}
	start, ok := f.lines.offset(n.Line, n.Column)
	_, length := scanToken(f.file[start:], n)
	if !ok || length == 0 {
		return Marker{}
	}
	m := markerOf(f.comment(n.Line, start+length))
	if m.Part != Name {
		return m
	}
	m.Part = Whole
	return m
}

// keyOf returns the key of a mapping's value.
func (f *finder) keyOf(mapping, value *yaml.Node) string {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i+1] == value {
			return quotePlain(mapping.Content[i].Value)
		}
	}
	return ""
}

func valueOf(node *yaml.Node) string {
	if node == nil {
		return ""
	}
	if node = resolved(node); node.Kind == yaml.ScalarNode && node.ShortTag() != "!!null" {
		return node.Value
	}
	return ""
}

// notText says why a scalar that should be a text is none; empty if it can be
// taken for one. Tags that look like numbers are common, and as long as all
// readers agree on their digits they are texts.
func notText(n *yaml.Node, part Part) string {
	switch n.ShortTag() {
	case "!!str":
		return ""
	case "!!null":
		return `it is empty; write "" to have it filled in`
	case "!!int":
		if i, err := strconv.ParseInt(n.Value, 10, 64); part == Tag && err == nil && strconv.FormatInt(i, 10) == n.Value {
			return ""
		}
	case "!!float":
		if x, err := strconv.ParseFloat(n.Value, 64); part == Tag && err == nil && strconv.FormatFloat(x, 'f', -1, 64) == n.Value {
			return ""
		}
	}
	return fmt.Sprintf("YAML reads it as %s, not as a string; quote it", n.ShortTag())
}
