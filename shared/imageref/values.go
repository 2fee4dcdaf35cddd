package imageref

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// free walks YAML of no known schema (Helm values, custom resources) and notes
// what has the shape of an image. key is the one that the node is the value of.
func (f *finder) free(p place, key string) {
	switch p.node.Kind {
	case yaml.MappingNode:
		if isImageKey(key) && (lookup(p.node, "newTag") != nil || lookup(p.node, "newName") != nil) {
			f.kustomizeImage(p)
			return
		}
		taken := f.groups(p, key)
		patched := patchedField(p.node)
		for i := 0; i+1 < len(p.node.Content); i += 2 {
			name, value := p.node.Content[i], p.node.Content[i+1]
			as := name.Value
			if patched != "" && as == "value" {
				as = patched
			}
			if name.Kind != yaml.ScalarNode || taken[value] || !mayHold(value, as) {
				continue
			}
			at := f.enter(p, value, strings.TrimPrefix(p.fields+"."+quotePlain(name.Value), "."))
			f.freeValue(at, as, as == "image" && (patched != "" || isContainers(key)))
		}
	case yaml.SequenceNode:
		if key == "parameters" {
			f.parameters(p)
			return
		}
		for i, node := range p.node.Content {
			if !mayHold(node, key) {
				continue
			}
			f.freeValue(f.enter(p, node, p.fields+"["+itoa(i)+"]"), key, false)
		}
	case yaml.DocumentNode, yaml.ScalarNode, yaml.AliasNode:
	}
}

// mayHold tells whether there can be an image in the value of a key.
func mayHold(n *yaml.Node, key string) bool {
	return n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode || isImageKey(key) || isTextKey(key)
}

// isTextKey tells the keys whose value can be YAML in a text.
func isTextKey(key string) bool {
	return key == "values" || key == "patch" || key == "patchesStrategicMerge"
}

// freeValue looks at the value of a key. A text is an image if its key says so and
// if it names a version, or if it is a container's.
func (f *finder) freeValue(p place, key string, container bool) {
	if p.node.Kind == yaml.MappingNode || p.node.Kind == yaml.SequenceNode {
		f.free(p, key)
		return
	}
	node := resolved(p.node)
	if isTextKey(key) && isText(p.node) {
		f.nestedIn(p)
		return
	}
	if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str" || !isImageKey(key) {
		return
	}
	value := strings.TrimSpace(node.Value)
	if at := strings.LastIndexByte(value, '='); at >= 0 && node == p.node && imageOf(value[at+1:]).Tag != "" {
		f.renamed(p, value[:at+1])
		return
	}
	ref, err := Parse(value)
	if err != nil || ref.Tag == "" && ref.Digest == "" && !container {
		return
	}
	if at, ok := f.follow(p); ok {
		f.image(at)
	}
}

// isText tells a scalar that may have a file in it.
func isText(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 || strings.Contains(n.Value, "\n"))
}

// patchedField returns the last field of the path that a JSON patch puts its value
// to; empty if a mapping is no such patch.
func patchedField(mapping *yaml.Node) string {
	if op := textOf(lookup(mapping, "op")); op != "replace" && op != "add" {
		return ""
	}
	path := textOf(lookup(mapping, "path"))
	return path[strings.LastIndexByte(path, '/')+1:]
}

func isContainers(key string) bool {
	return key == "containers" || key == "initContainers" || key == "ephemeralContainers"
}

// isImageKey tells whether a key says that its value is an image, or images.
func isImageKey(key string) bool {
	return hasSuffixFold(key, "image") || hasSuffixFold(key, "images")
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}

// plainKey is a key as it is compared: imageTag, image_tag and image-tag are one.
func plainKey(key string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '_' || r == '-':
			return -1
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, key)
}
