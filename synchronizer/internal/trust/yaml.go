package trust

import "go.yaml.in/yaml/v3"

// UnmarshalYAML reads a key with its window, or a bare line as a key that always counts.
func (k *Keys) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return node.Decode(&k.Key)
	}
	type plain Keys
	return node.Decode((*plain)(k))
}

// UnmarshalYAML reads a rule, or a bare repository as a rule for every path.
func (r *ImageRule) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return node.Decode(&r.Repository)
	}
	type plain ImageRule
	return node.Decode((*plain)(r))
}
