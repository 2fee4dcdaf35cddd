// Package signature says whether an image is signed by whom it must be.
//
// It is pure: rules, what is trusted, the digest of an image and what the registry has about its signatures go in, a
// verdict comes out. Nothing is asked over a network, and no clock is read: when something was signed is what a
// transparency log or a timestamp authority says.
//
//	rule, err := signature.New(signature.Config{Keys: []string{"release"}})
//	verifier, err := signature.Rules{rule}.With(signature.Trust{Keys: keys})
//	verdict := verifier.Verify(signature.Image{Repository: "ghcr.io/acme/api", Digest: digest}, material)
//
// # Rules
//
// All rules of an image must be kept, each by one signature or attestation, by any of the keys or identities that the rule
// names. A rule without a predicate type is about signatures; one with it is about attestations of that type, and no
// attestation passes for a signature.
//
// # What is read
//
//	Bundle         a Sigstore bundle, as cosign attaches it by default since version 3
//	SimpleSigning  a payload with its signature in annotations, under the tag sha256-<hex>.sig
//	Envelope       a DSSE envelope with an in-toto statement, under the tag sha256-<hex>.att
//
// The older forms are turned into bundles, so that one verifier, sigstore-go, decides about all. What it does not know is
// checked here: that the signed payload is about this digest, what it was signed for, and which repository it names.
//
// # What a missing log entry means
//
// A certificate of a keyless signature is valid for minutes, so somebody trusted must say when it was used. Whoever is in the
// trusted root is asked for: an entry in a transparency log if it has one, else a timestamp by its authority; and a signed
// certificate timestamp if it has a certificate log. A key needs no entry, unless its rule says log.
package signature
