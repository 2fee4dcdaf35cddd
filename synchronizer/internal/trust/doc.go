// Package trust decides how far a chain of commits may be believed.
//
// It is pure: bytes, keys and ids in, a verdict out. Nothing that the automator
// says counts; what a commit changes is read from trees and blobs, which are
// hashed again here, and who stands behind it from its signature, which is held
// against keys that the cluster's own configuration lists.
//
// [Verify] is an induction. The last verified commit p is believed; the next
// commit c of the chain names p as a parent, and is believed too if
//
//  1. it leaves the granted paths as they are, or
//  2. a human who may change what it changes signed it, or
//  3. an automation signed it and every change is another allowed image at an
//     image position of the file as it is in p, or
//  4. somebody takes responsibility for it: a human who may change what it
//     changes, by the trailer "Tandem-Accept: <id of c>" in a later signed
//     commit or in the signed tag, or an operator by an annotation on the Sync.
//
// Otherwise the verdict stops before c, and says which file and line it is
// about and what to do. Nothing after c is looked at but for rule 4, so that a
// later commit never makes an earlier one pass by itself. A break in the chain,
// as after a force-push, is treated as a change that nobody signed.
//
// At first contact there is no p. Then the first commit of the chain is
// believed if the installer named it, or if a human signed it who may change
// everything it grants.
//
// An annotated tag that a human signed seals the tree of its commit; no commit
// before is looked at.
package trust
