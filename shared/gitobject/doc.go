// Package gitobject reads, hashes, builds and compares Git objects: commits,
// trees, blobs and annotated tags, under SHA-1 and SHA-256.
//
// It is pure. It never opens a repository and never runs git; objects come in
// as bytes and go out as bytes, and trees of others are read through
// [TreeReader]. Both agents stand on it: the automator builds and signs commits
// with it, the synchronizer re-hashes and verifies what it is sent.
//
// Nothing here trusts its input. Hashing refuses SHA-1 collision attacks,
// decoders accept what `git fsck --strict` accepts and nothing else, every
// size is bounded, and for every object that decodes
//
//	DecodeX(b).Encode() == b
//
// so that no two byte strings mean the same object. Every error of a decoder
// is [ErrMalformed].
package gitobject
