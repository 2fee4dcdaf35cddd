// Package baseline says what a field manager has applied to an object, as one
// hash: the set of paths in the manager's Apply entry and the values that the
// object has there. Two objects with the same digest agree in everything that
// the manager owns, whatever others have changed around it.
//
// The digest of the response to our own apply is the baseline of the object. A
// later digest that differs is drift: somebody changed a value we own, took a
// path away from us, or removed what was there.
//
//	digest, ours := baseline.Of(response, "tandem-synchronizer")
//
// It does not depend on the order of items where the API server merges lists:
// items of associative lists are found by their keys, members of sets by their
// value. The order of atomic lists counts.
//
// One thing cannot be told apart without the schema of the kind: a path that we
// own as a whole (an atomic map) and an empty map that we applied and others
// filled in, such as "resources: {}". Where another manager owns something
// below our path it must be the latter, and only its presence counts. Where
// nobody does, the whole value counts, defaults of the API server included; so
// the first change of such a default by somebody else looks like drift once.
// Healing it changes nothing, and what it answers is the new baseline.
package baseline
