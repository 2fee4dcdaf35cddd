// Package layer builds a layer of an image from a tree of files: the same tree
// always gives the same bytes, whoever builds it, wherever and whenever.
//
// What goes into a tree comes from elsewhere, Debian packages above all, so the
// tree refuses names that would leave it: absolute ones, those with "..", and
// those that lead through a link.
package layer
