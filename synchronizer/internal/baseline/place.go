package baseline

import (
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// worthIndexing is from how many comparisons on a list is indexed.
const worthIndexing = 1024

// place is a value whose parts path elements name.
type place struct {
	fields map[string]any
	list   []any

	// Of a long list, the items by the text that they have in one field.
	field string
	items map[string]any
}

func placeOf(v any, node map[string]any) place {
	p := place{}
	p.fields, _ = v.(map[string]any)
	p.list, _ = v.([]any)
	if len(p.list)*len(node) >= worthIndexing {
		p.index(node)
	}
	return p
}

// index makes lookups by a single key of text fast. Other long lists are rare.
func (p *place) index(node map[string]any) {
	for element := range node {
		if field, _, ok := simple(element); ok {
			p.field = field
			break
		}
	}
	p.items = make(map[string]any, len(p.list))
	for _, item := range p.list {
		text, ok := textOf(item, p.field)
		if _, known := p.items[text]; ok && !known {
			p.items[text] = item
		}
	}
}

// resolve finds the value that a path element names: a field by its name, an
// item of a list by its keys, its value or its index. An element of a kind from
// the future finds nothing.
func (p *place) resolve(element string) (any, bool) {
	if name, ok := strings.CutPrefix(element, "f:"); ok {
		found, ok := p.fields[name]
		return found, ok
	}
	if field, text, ok := simple(element); ok {
		return p.find(field, text)
	}
	path, err := fieldpath.DeserializePathElement(element)
	if err != nil {
		return nil, false
	}
	if path.Index != nil && *path.Index >= 0 && *path.Index < len(p.list) {
		return p.list[*path.Index], true
	}
	for _, item := range p.list {
		if Matches(path, item) {
			return item, true
		}
	}
	return nil, false
}

func (p *place) find(field, text string) (any, bool) {
	if p.items != nil && p.field == field {
		item, ok := p.items[text]
		return item, ok
	}
	for _, item := range p.list {
		if have, ok := textOf(item, field); ok && have == text {
			return item, true
		}
	}
	return nil, false
}

// textOf is the text that an item has in a field or, where none is named, is.
func textOf(item any, field string) (string, bool) {
	if field != "" {
		fields, _ := item.(map[string]any)
		item = fields[field]
	}
	text, ok := item.(string)
	return text, ok
}

// Matches reports whether an item of a list is the one that a path element names by its keys or its value.
func Matches(path fieldpath.PathElement, item any) bool {
	if path.Value != nil {
		return value.Equals(value.NewValueInterface(item), *path.Value)
	}
	fields, ok := item.(map[string]any)
	if !ok || path.Key == nil {
		return false
	}
	for _, key := range *path.Key {
		have, ok := fields[key.Name]
		if !ok || !value.Equals(value.NewValueInterface(have), key.Value) {
			return false
		}
	}
	return true
}

// simple reads the two forms that nearly all path elements of lists have,
// k:{"name":"web"} and v:"text", without a JSON parser. The field is empty for
// the second.
func simple(element string) (field, text string, ok bool) {
	if strings.IndexByte(element, '\\') >= 0 {
		return "", "", false
	}
	rest, isValue := strings.CutPrefix(element, "v:")
	if !isValue {
		inner, opened := strings.CutPrefix(element, `k:{"`)
		inner, closed := strings.CutSuffix(inner, `}`)
		if !opened || !closed {
			return "", "", false
		}
		if field, rest, ok = strings.Cut(inner, `":`); !ok {
			return "", "", false
		}
	}
	if len(rest) < 2 || rest[0] != '"' || rest[len(rest)-1] != '"' {
		return "", "", false
	}
	text = rest[1 : len(rest)-1]
	return field, text, strings.IndexByte(text, '"') < 0
}
