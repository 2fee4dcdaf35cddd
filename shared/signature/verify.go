package signature

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/tandem-cd/tandem/shared/imageref"
	"github.com/tandem-cd/tandem/shared/printable"
)

// signaturePredicate is the predicate type under which cosign signs an image itself.
const signaturePredicate = "https://sigstore.dev/cosign/sign/v1"

// payloadType is what a simple signature says that it is.
const payloadType = "cosign container image signature"

// Image is what is to be signed.
type Image struct {
	// Repository is its canonical name.
	Repository string
	// Digest is that of its manifest or index, such as "sha256:...".
	Digest string
}

// Verdict says whether an image is signed by whom it must be.
type Verdict struct {
	// Kept is whether all rules are.
	Kept bool
	// Reason says why not, in one sentence; empty if they are.
	Reason string
	// By names who kept each of the rules, in their order.
	By []string
}

// Verify checks an image by what a registry has about its signatures.
func (v *Verifier) Verify(image Image, m Material) Verdict {
	var verdict Verdict
	m = m.Bounded()
	for _, r := range v.rules {
		by, reason := r.verify(image, m)
		if reason != "" {
			return Verdict{Reason: reason}
		}
		verdict.By = append(verdict.By, by)
	}
	verdict.Kept = true
	return verdict
}

const (
	// maxTold bounds how many items a reason speaks of.
	maxTold = 3
	// maxWhere and maxQuoted bound what is told of one: where it is, and why it is not enough, in bytes.
	maxWhere, maxQuoted = 256, 240
)

// verify finds an item that keeps the rule, or says why none does.
func (r *boundRule) verify(image Image, m Material) (by, reason string) {
	var told []string
	others := 0
	for _, item := range m.Items {
		by, err := r.item(image, item)
		switch {
		case err == nil:
			return by, ""
		case errors.Is(err, errOtherKind):
		case len(told) == maxTold:
			others++
		default:
			told = append(told, quoted(item.Where, maxWhere)+": "+quoted(err.Error(), maxQuoted))
		}
	}
	if others > 0 {
		told = append(told, fmt.Sprintf("%d others neither", others))
	}
	if m.Skipped > 0 {
		told = append(told, fmt.Sprintf("%d more were not looked at", m.Skipped))
	}
	if len(told) == 0 {
		return "", fmt.Sprintf("no %s: the registry has none", r.Rule)
	}
	return "", fmt.Sprintf("no %s: %s", r.Rule, strings.Join(told, "; "))
}

// errOtherKind says that an item is something else than a rule asks for.
var errOtherKind = errors.New("something else")

// item tells by whom an item keeps the rule, or why it does not.
func (r *boundRule) item(image Image, i Item) (by string, err error) {
	defer func() {
		if p := recover(); p != nil { // a defect of a parser drops what it was given, and nothing else
			by, err = "", fmt.Errorf("reading it failed: %v", p)
		}
	}()
	if older := i.Kind; older == SimpleSigning && r.config.Attestation != "" || older == Envelope && r.config.Attestation == "" {
		return "", errOtherKind
	}
	e, err := understand(i, r.config.Log)
	if err != nil {
		return "", err
	}
	if err := r.about(image, e); err != nil {
		return "", err
	}
	for _, s := range r.signers {
		failure := s.signed(image, e)
		if failure == nil {
			return s.name, nil
		}
		err = cmp.Or(err, failure)
	}
	return "", err
}

// about tells whether an item would keep the rule if it were signed: what is signed, and which image is meant. Whatever it
// says here counts only once the same bytes are found to be signed.
func (r *boundRule) about(image Image, e evidence) error {
	if e.payload != nil {
		return r.payload(image, e.payload)
	}
	if e.byKey.GetDsseEnvelope() == nil {
		if r.config.Attestation != "" {
			return errOtherKind
		}
		return nil // it signs the image's bytes themselves
	}
	envelope, err := e.byKey.Envelope()
	if err != nil {
		return err
	}
	statement, err := envelope.Statement()
	if err != nil {
		return err
	}
	wanted := r.config.Attestation
	if wanted == "" {
		wanted = signaturePredicate
	}
	if statement.GetPredicateType() != wanted {
		return errOtherKind
	}
	return nil
}

// payload checks what a simple signature signs.
func (r *boundRule) payload(image Image, payload []byte) error {
	var signed struct {
		Critical struct {
			Type     string `json:"type"`
			Identity struct {
				Reference string `json:"docker-reference"`
			} `json:"identity"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(payload, &signed); err != nil {
		return fmt.Errorf("its payload cannot be read: %w", err)
	}
	said := signed.Critical
	switch {
	case said.Type != payloadType:
		return fmt.Errorf("it signs a %q and not an image", said.Type)
	case said.Image.Digest != image.Digest:
		return fmt.Errorf("it signs %q and not this image", said.Image.Digest)
	}
	ref, err := imageref.Parse(said.Identity.Reference)
	if err != nil || ref.Name() != image.Repository && !slices.Contains(r.config.SignedAs, ref.Name()) {
		return fmt.Errorf("it was signed as an image of %q; add that to signedAs if it was copied from there", said.Identity.Reference)
	}
	return nil
}

// signed tells whether an item is signed by the signer, and about the image.
func (s *signer) signed(image Image, e evidence) error {
	by := e.byCertificate
	if s.key {
		by = e.byKey
	}
	if by == nil {
		return errors.New("it has no certificate")
	}
	if s.pure && e.payload == nil && by.GetMessageSignature() != nil {
		return errors.New("a signature of the image's bytes with Ed25519 cannot be checked by their digest")
	}
	artifact, err := artifactOf(image, by, e.payload)
	if err != nil {
		return err
	}
	_, err = s.verifier.Verify(by, verify.NewPolicy(artifact, s.policy))
	return err
}

// artifactOf is what the signature of a bundle is about.
func artifactOf(image Image, b *bundle.Bundle, payload []byte) (verify.ArtifactPolicyOption, error) {
	if payload != nil {
		return verify.WithArtifact(bytes.NewReader(payload)), nil
	}
	algorithm, text, _ := strings.Cut(image.Digest, ":")
	digest, err := hex.DecodeString(text)
	if err != nil || len(digest) == 0 {
		return nil, fmt.Errorf("%.80q is not a digest", image.Digest)
	}
	if algorithm != "sha256" && b.GetMessageSignature() != nil {
		return nil, fmt.Errorf("a signature of the image's bytes is read with SHA-256 alone, and not with %s", algorithm)
	}
	return verify.WithArtifactDigest(algorithm, digest), nil
}

// quoted returns a text on one line, and no more of it than a person reads: parts of it are foreign.
func quoted(text string, most int) string {
	text = printable.Line(text)
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
