package render

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// lineError is a problem at a line of the file that is being read.
type lineError struct {
	line    int
	message string
}

func (e lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.message) }

func errorAt(n *yaml.Node, format string, args ...any) error {
	return lineError{line: n.Line, message: fmt.Sprintf(format, args...)}
}

// converter turns YAML nodes into the values that JSON would give, as kubectl does.
type converter struct {
	aliased int          // values that came out of aliases so far, in the whole file
	open    []*yaml.Node // the aliases that are being followed
}

func (c *converter) value(n *yaml.Node, depth int) (any, error) {
	if depth > MaxNesting {
		return nil, errorAt(n, "values are nested more than %d deep", MaxNesting)
	}
	if len(c.open) > 0 {
		if c.aliased++; c.aliased > MaxAliasValues {
			return nil, errorAt(n, "aliases in this file stand for more than %d values; write the values out", MaxAliasValues)
		}
	}
	switch n.Kind {
	case yaml.MappingNode:
		return c.mapping(n, depth)
	case yaml.SequenceNode:
		return c.sequence(n, depth)
	case yaml.AliasNode:
		return c.alias(n, depth)
	default:
		return scalar(n)
	}
}

func (c *converter) alias(n *yaml.Node, depth int) (any, error) {
	if slices.Contains(c.open, n.Alias) {
		return nil, errorAt(n, "alias *%s contains itself", n.Value)
	}
	c.open = append(c.open, n.Alias)
	defer func() { c.open = c.open[:len(c.open)-1] }()
	return c.value(n.Alias, depth+1)
}

func (c *converter) sequence(n *yaml.Node, depth int) (any, error) {
	out := make([]any, 0, len(n.Content))
	for _, item := range n.Content {
		v, err := c.value(item, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (c *converter) mapping(n *yaml.Node, depth int) (map[string]any, error) {
	out := make(map[string]any, len(n.Content)/2)
	lines := make(map[string]int, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if isMerge(n.Content[i]) {
			merges = append(merges, n.Content[i+1])
			continue
		}
		key, err := c.key(n.Content[i])
		if err != nil {
			return nil, err
		}
		if first, twice := lines[key]; twice {
			return nil, errorAt(n.Content[i], "key %q is already set at line %d; keep one of them", key, first)
		}
		lines[key] = n.Content[i].Line
		if out[key], err = c.value(n.Content[i+1], depth+1); err != nil {
			return nil, err
		}
	}
	for _, merge := range merges {
		if err := c.merge(out, merge, depth); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func isMerge(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "<<" && (n.Tag == "!!merge" || n.ShortTag() == "!!merge")
}

// merge adds what "<<" names; what is written out, or was merged before, wins.
func (c *converter) merge(into map[string]any, n *yaml.Node, depth int) error {
	v, err := c.value(n, depth+1)
	if err != nil {
		return err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, item := range list {
		from, ok := item.(map[string]any)
		if !ok {
			return errorAt(n, "the merge key << needs a mapping or a list of mappings")
		}
		for key, value := range from {
			if _, set := into[key]; !set {
				into[key] = value
			}
		}
	}
	return nil
}

// key is a mapping key as JSON has it: text.
func (c *converter) key(n *yaml.Node) (string, error) {
	target := n
	if n.Kind == yaml.AliasNode {
		target = n.Alias
	}
	if target.Kind != yaml.ScalarNode {
		return "", errorAt(n, "a key must be a plain word, not a list or mapping")
	}
	v, err := scalar(target)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	default:
		return "", errorAt(n, "the key %q is not text; quote it", target.Value)
	}
}

func scalar(n *yaml.Node) (any, error) {
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!timestamp", "!!merge":
		return text(n), nil
	case "!!null":
		return nil, wrongTag(n, n.Value == "" || n.Value == "~" || n.Value == "null" || n.Value == "Null" || n.Value == "NULL")
	case "!!bool":
		b, ok := truth(n.Value)
		return b, wrongTag(n, ok)
	case "!!int", "!!float":
		return number(n)
	case "!!binary":
		return binary(n)
	default:
		return nil, errorAt(n, "the tag %s means nothing to Kubernetes; remove it", tag)
	}
}

func wrongTag(n *yaml.Node, ok bool) error {
	if ok {
		return nil
	}
	return errorAt(n, "the value is no %s", n.ShortTag())
}

// text is a string, or the boolean that an unquoted YAML 1.1 word stands for.
func text(n *yaml.Node) any {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle | yaml.TaggedStyle
	if n.Style&quoted == 0 {
		if b, ok := truth(n.Value); ok {
			return b
		}
	}
	return n.Value
}

// truth is what kubectl takes for a boolean when it is not quoted.
func truth(s string) (value, ok bool) {
	switch s {
	case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y":
		return true, true
	case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N":
		return false, true
	default:
		return false, false
	}
}

// number is an int64 where JSON's text of it would be one, else a float64.
func number(n *yaml.Node) (any, error) {
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, errorAt(n, "the value is no number")
	}
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case uint64:
		return float64(v), nil
	case float64:
		return float(n, v)
	default:
		return nil, errorAt(n, "the value is no number")
	}
}

func float(n *yaml.Node, f float64) (any, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, errorAt(n, "the value cannot be written in JSON; quote it if it is text")
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<63 {
		return int64(f), nil
	}
	return f, nil
}

func binary(n *yaml.Node) (any, error) {
	var s string
	if err := n.Decode(&s); err != nil {
		return nil, errorAt(n, "!!binary is not base64")
	}
	if !utf8.ValidString(s) {
		return nil, errorAt(n, "!!binary does not hold text; use the field binaryData, or data of a Secret")
	}
	return s, nil
}
