package baseline

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Difference is a path at which two states of an object differ in what a manager has applied.
type Difference struct {
	// Path are the elements of the path as managedFields write them, such as "f:spec" and `k:{"name":"web"}`.
	Path []string
	// Found and Want are the values in the two states, which are only read; absent says that there is none.
	Found, Want             any
	FoundAbsent, WantAbsent bool
}

// Taken reports whether the values are the same, and somebody else has taken the path away from the manager.
func (d Difference) Taken() bool { return !d.FoundAbsent && !d.WantAbsent && equal(d.Found, d.Want) }

// Compare returns where found differs from want in what manager has applied to either, in the order of the paths: what makes
// their digests differ. An item or a map that is missing as a whole is one difference. What the manager has given up by
// itself is none.
func Compare(found, want *unstructured.Unstructured, manager string) []Difference {
	c := &comparison{}
	was, othersWere := entries(found, manager)
	is, othersAre := entries(want, manager)
	c.set(side{was, found.Object, othersWere}, side{is, want.Object, othersAre})
	return c.out
}

// comparison walks two states of an object side by side.
type comparison struct {
	path []string
	out  []Difference
}

// side is one of the states at the current path.
type side struct {
	node   map[string]any // what the manager owns below; nil for nothing
	value  any
	others []map[string]any // what others own below
}

func (c *comparison) set(found, want side) {
	union := make(map[string]any, len(found.node)+len(want.node))
	maps.Copy(union, found.node)
	maps.Copy(union, want.node)
	was, is := placeOf(found.value, union), placeOf(want.value, union)
	for _, element := range slices.Sorted(maps.Keys(union)) {
		if element == "." {
			continue
		}
		old, hadOld := was.resolve(element)
		now, hasNow := is.resolve(element)
		c.path = append(c.path, element)
		switch {
		case !hadOld && !hasNow:
		case !hadOld || !hasNow:
			c.differs(old, now, !hadOld, !hasNow)
		default:
			c.at(found.below(element, old), want.below(element, now), owns(want.node, element) && !owns(found.node, element))
		}
		c.path = c.path[:len(c.path)-1]
	}
}

// isOpen reports whether the value is one that others may fill in.
func (s side) isOpen() bool { return len(s.others) > 0 || empty(s.value) }

// at compares what both states have at a path.
func (c *comparison) at(found, want side, taken bool) {
	switch {
	case len(found.node) > 0 || len(want.node) > 0:
		c.set(found, want)
	case !taken && found.isOpen() && want.isOpen():
		// Only its presence counts.
	case taken || !equal(found.value, want.value):
		c.differs(found.value, want.value, false, false)
	}
}

func (c *comparison) differs(found, want any, foundAbsent, wantAbsent bool) {
	c.out = append(c.out, Difference{
		Path: slices.Clone(c.path), Found: found, Want: want, FoundAbsent: foundAbsent, WantAbsent: wantAbsent,
	})
}

// below is the side one element further.
func (s side) below(element string, at any) side {
	node, _ := s.node[element].(map[string]any)
	next := side{node: node, value: at}
	for _, other := range s.others {
		if below, _ := other[element].(map[string]any); len(below) > 0 && !onlyItself(below) {
			next.others = append(next.others, below)
		}
	}
	return next
}

func owns(node map[string]any, element string) bool {
	_, ok := node[element]
	return ok
}

func equal(a, b any) bool {
	return value.Equals(value.NewValueInterface(a), value.NewValueInterface(b))
}

// Author is a field manager that wrote to an object.
type Author struct {
	// Manager, Operation ("Update", "Apply"), Subresource (empty for none) and Time (RFC 3339) are those of managedFields.
	Manager, Operation, Subresource, Time string
	// Owns says that the path is the manager's. Otherwise nobody's is, and the manager is the last that wrote to the object.
	Owns bool
}

// AuthorOf returns who of the managers but those excepted owns a path, whatever is below it or the value that it is part of:
// the most recent, where there are several. A path that nobody owns, such as of what was removed, is put down to whoever wrote
// last. It reports false when nobody else has written.
func AuthorOf(object *unstructured.Unstructured, path []string, except ...string) (Author, bool) {
	var best Author
	found := false
	for entry := range managed(object) {
		fields, _ := entry["fieldsV1"].(map[string]any)
		a := authorOf(entry)
		a.Owns = covers(fields, path)
		if slices.Contains(except, a.Manager) || !a.Owns && a.Subresource != "" {
			continue
		}
		if !found || a.later(best) {
			best, found = a, true
		}
	}
	return best, found
}

func authorOf(entry map[string]any) (a Author) {
	a.Manager, _ = entry["manager"].(string)
	a.Operation, _ = entry["operation"].(string)
	a.Subresource, _ = entry["subresource"].(string)
	a.Time, _ = entry["time"].(string)
	return a
}

// later reports whether an author is more likely to be the one who made a change. Times are in UTC, so that text order is the
// order in time.
func (a Author) later(b Author) bool {
	if a.Owns != b.Owns {
		return a.Owns
	}
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Manager, b.Manager)) > 0
}

// covers reports whether a path set has a path, something below it or a value that it is part of.
func covers(node map[string]any, path []string) bool {
	for i, element := range path {
		below, ok := node[element].(map[string]any)
		if !ok {
			return false
		}
		if len(below) == 0 && i < len(path)-1 {
			return true
		}
		node = below
	}
	return true
}
