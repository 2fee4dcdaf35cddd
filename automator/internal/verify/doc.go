// Package verify is the loop that has images checked by whom they are signed, and remembers what came of it.
//
// Whoever chooses a tag asks Signed, which answers at once with what is known, and Check for what is not. A check resolves
// the tag, if no digest is meant, reads what the registry has about the signatures of that digest, and asks package signature.
// The verdict is about the digest: a tag that moves has to be checked again, and what was checked is what is written.
//
//   - An image that is signed stays so, as long as the rules and all that they trust stay the same; the store remembers it.
//   - One that is not is looked at again: signatures often come after the image. First soon, then rarely; at once when
//     something new is seen in its repository.
//   - A registry that does not answer makes nobody accept anything. It is asked again, later and later.
//
// Keys and the trusted root are files, which are read again now and then; when one of them changed, what it vouched for
// does not count any more.
package verify
