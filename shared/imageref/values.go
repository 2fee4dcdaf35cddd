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
		taken := f.groups(p, key)
		for i := 0; i+1 < len(p.node.Content); i += 2 {
			name, value := p.node.Content[i], p.node.Content[i+1]
			if name.Kind == yaml.ScalarNode && !taken[value] {
				at := f.enter(p, value, strings.TrimPrefix(p.fields+"."+quotePlain(name.Value), "."))
				f.freeValue(at, name.Value, name.Value == "image" && isContainers(key))
			}
		}
	case yaml.SequenceNode:
		for i, node := range p.node.Content {
			f.freeValue(f.enter(p, node, p.fields+"["+itoa(i)+"]"), key, false)
		}
	case yaml.DocumentNode, yaml.ScalarNode, yaml.AliasNode:
	}
}

// freeValue looks at the value of a key. A text is an image if its key says so and
// if it names a version, or if it is a container's.
func (f *finder) freeValue(p place, key string, container bool) {
	if p.node.Kind == yaml.MappingNode || p.node.Kind == yaml.SequenceNode {
		f.free(p, key)
		return
	}
	node := resolved(p.node)
	if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str" || !isImageKey(key) {
		return
	}
	ref, err := Parse(strings.TrimSpace(node.Value))
	if err != nil || ref.Tag == "" && ref.Digest == "" && !container {
		return
	}
	if at, ok := f.follow(p); ok {
		f.image(at)
	}
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
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
}
