package compare

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// The limits.
const (
	// MaxFields bounds the fields that are listed of one object.
	MaxFields = 50
	// MaxValue bounds a value that is shown in a list of fields, and MaxPath the way to it, in bytes.
	MaxValue = 256
	MaxPath  = 256
)

// walk collects the fields that differ.
type walk struct {
	fields  []Field
	omitted int
}

func (w *walk) maps(path string, before, after map[string]any) {
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		b, hasBefore := before[key]
		a, hasAfter := after[key]
		w.pair(join(path, key), pair{b, a, hasBefore, hasAfter, ""})
	}
}

// pair compares what is at one path.
func (w *walk) pair(path string, p pair) {
	if !p.hasBefore || !p.hasAfter {
		w.add(path, p)
		return
	}
	switch before := p.before.(type) {
	case map[string]any:
		if after, ok := p.after.(map[string]any); ok {
			w.maps(path, before, after)
			return
		}
	case []any:
		if after, ok := p.after.([]any); ok {
			w.lists(path, before, after)
			return
		}
	}
	if !equal(p.before, p.after) {
		w.add(path, p)
	}
}

func (w *walk) lists(path string, before, after []any) {
	for _, p := range pairs(before, after) {
		w.pair(path+"["+p.at+"]", p)
	}
	names, other := namesOf(before), namesOf(after)
	if was, is := common(names, other), common(other, names); !slices.Equal(was, is) { // the order of init containers and variables counts
		w.add(path, pair{before: was, after: is, hasBefore: true, hasAfter: true})
	}
}

// common returns the names that another list has too, in their order.
func common(names, other []string) []string {
	has := make(map[string]bool, len(other))
	for _, name := range other {
		has[name] = true
	}
	var both []string
	for _, name := range names {
		if has[name] {
			both = append(both, name)
		}
	}
	return both
}

func (w *walk) add(path string, p pair) {
	if len(w.fields) == MaxFields {
		w.omitted++
		return
	}
	w.fields = append(w.fields, Field{Path: clip(path, MaxPath), Before: show(p.before, p.hasBefore), After: show(p.after, p.hasAfter)})
}

// pair is what two states have at one place.
type pair struct {
	before, after       any
	hasBefore, hasAfter bool
	at                  string // the item of a list
}

// pairs finds the items of two lists that belong together: by name where all of them have one of their own, else by index.
func pairs(before, after []any) []pair {
	names, other := namesOf(before), namesOf(after)
	if names == nil || other == nil {
		return byIndex(before, after)
	}
	list := make([]pair, 0, max(len(before), len(after)))
	for i, item := range after {
		name := other[i]
		p := pair{after: item, hasAfter: true, at: "name=" + name}
		if at := slices.Index(names, name); at >= 0 {
			p.before, p.hasBefore = before[at], true
		}
		list = append(list, p)
	}
	for i, item := range before {
		if !slices.Contains(other, names[i]) {
			list = append(list, pair{before: item, hasBefore: true, at: "name=" + names[i]})
		}
	}
	return list
}

// maxNamed bounds the items that are found by name: a longer list is compared item by item.
const maxNamed = 1000

// namesOf returns the names of items; nil when one has none, or two have the same.
func namesOf(items []any) []string {
	if len(items) > maxNamed {
		return nil
	}
	names := make([]string, 0, len(items))
	seen := make(map[string]bool, len(items))
	for _, item := range items {
		fields, _ := item.(map[string]any)
		name, ok := fields["name"].(string)
		if !ok || seen[name] {
			return nil
		}
		seen[name] = true
		names = append(names, name)
	}
	return names
}

func byIndex(before, after []any) []pair {
	list := make([]pair, max(len(before), len(after)))
	for i := range list {
		p := pair{at: fmt.Sprint(i), hasBefore: i < len(before), hasAfter: i < len(after)}
		if p.hasBefore {
			p.before = before[i]
		}
		if p.hasAfter {
			p.after = after[i]
		}
		list[i] = p
	}
	return list
}

// equal compares two values of which not both are maps or lists. Whole numbers are the same however they were read.
func equal(a, b any) bool {
	if x, ok := a.(int64); ok {
		if y, ok := b.(int64); ok {
			return x == y // exactly, which as float64 large ones are not
		}
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	return reflect.DeepEqual(a, b)
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	default:
		return 0, false
	}
}

// plain is a name that needs no quotes in a path.
var plain = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func join(path, key string) string {
	switch {
	case !plain.MatchString(key):
		return fmt.Sprintf("%s[%q]", path, key)
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

func show(value any, there bool) string {
	if !there {
		return ""
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "(cannot be shown)" // not what a decoder of JSON makes
	}
	return clip(string(text), MaxValue)
}

// clip shortens a text to a number of bytes, on a border of characters.
func clip(text string, most int) string {
	const ellipsis = "…"
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len(ellipsis)], "") + ellipsis
}
