package gitobject

import (
	"maps"
	"slices"
)

// Delta is what turns one tree into another: entries that appear or differ,
// and names that vanish.
type Delta struct {
	Set    []Entry
	Remove []string
}

// TreeDelta is the delta from one tree to another.
func TreeDelta(from, to Tree) Delta {
	var d Delta
	for len(from) > 0 || len(to) > 0 {
		var a, b Entry
		a, b, from, to = next(from, to)
		switch {
		case b.IsZero():
			d.Remove = append(d.Remove, a.Name)
		case a != b:
			d.Set = append(d.Set, b)
		}
	}
	return d.settle()
}

// settle drops removals of names that are set: a file that became a directory
// is one replaced entry.
func (d Delta) settle() Delta {
	set := make(map[string]bool, len(d.Set))
	for _, e := range d.Set {
		set[e.Name] = true
	}
	d.Remove = slices.DeleteFunc(d.Remove, func(name string) bool { return set[name] })
	return d
}

// Apply makes the tree that the delta leads to from t. The delta may come from
// anywhere: what it names twice, removes without need or sets to something no
// tree may hold is refused.
func (d Delta) Apply(t Tree) (Tree, error) {
	entries := make(map[string]Entry, len(t)+len(d.Set))
	for _, e := range t {
		entries[e.Name] = e
	}
	for _, name := range d.Remove {
		if _, found := entries[name]; !found {
			return nil, malformed("delta removes %q, which is not there", clip(name))
		}
		delete(entries, name)
	}
	touched := make(map[string]bool, len(d.Set)+len(d.Remove))
	for _, name := range d.Remove {
		touched[name] = true
	}
	for _, e := range d.Set {
		if touched[e.Name] {
			return nil, malformed("delta names %q twice", clip(e.Name))
		}
		touched[e.Name] = true
		entries[e.Name] = e
	}
	return NewTree(slices.Collect(maps.Values(entries)))
}
