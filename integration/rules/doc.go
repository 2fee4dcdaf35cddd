// Package rules holds the house rules that a program can check, as tests: who
// may import whom, where goroutines start, what go.mod files agree on, what
// must be documented. A rule that fails names the place, the rule and its
// reason.
//
// A new package is added to the map in map_test.go, with the part it plays; a
// new library to docs/decisions/0001-libraries.md, with its reason.
//
// The tests look at the whole tree, most of which the Go tool does not count as
// input of this package, so a cached result means nothing: run them by
// `make rules`.
package rules
