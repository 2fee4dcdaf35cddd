package signature_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
)

const provenance = "https://slsa.dev/provenance/v1"

func image() signature.Image {
	return signature.Image{Repository: "ghcr.io/acme/api", Digest: signaturetest.Digest("api")}
}

func other() signature.Image {
	return signature.Image{Repository: "ghcr.io/acme/api", Digest: signaturetest.Digest("other")}
}

// by returns what verifies by rules.
func by(t testing.TB, trust signature.Trust, configs ...signature.Config) *signature.Verifier {
	t.Helper()
	var rules signature.Rules
	for _, c := range configs {
		rule, err := signature.New(c)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, rule)
	}
	v, err := rules.With(trust)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// told checks a verdict: an empty reason is that of an image that is signed.
func told(t *testing.T, got signature.Verdict, reason string) {
	t.Helper()
	if got.Kept != (reason == "") || !strings.Contains(got.Reason, reason) {
		t.Errorf("Verify(...): kept %v, %q; want %q", got.Kept, got.Reason, reason)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	keys := map[string]func(testing.TB) signaturetest.Key{
		"ECDSA": signaturetest.ECDSA, "ECDSA384": signaturetest.ECDSA384, "Ed25519": signaturetest.Ed25519, "RSA": signaturetest.RSA,
	}
	for name, generate := range keys {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, another := generate(t), generate(t)
			trust := signature.Trust{Keys: map[string][]byte{"release": []byte(key.Public)}}
			signed := by(t, trust, signature.Config{Keys: []string{"release"}})
			attested := by(t, trust, signature.Config{Keys: []string{key.Public}, Attestation: provenance})
			sign := signaturetest.Statement(image(), signaturetest.SignaturePredicate, "{}")
			attest := signaturetest.Statement(image(), provenance, `{"buildType":"x"}`)
			cases := map[string]struct {
				verifier *signature.Verifier
				item     signature.Item
				reason   string
			}{
				"Simple":           {signed, key.Simple(signaturetest.Payload(image())), ""},
				"Bundle":           {signed, key.Bundle(sign), ""},
				"AttestedEnvelope": {attested, key.Envelope(attest), ""},
				"AttestedBundle":   {attested, key.Bundle(attest), ""},

				"SimpleByAnother":   {signed, another.Simple(signaturetest.Payload(image())), "no signature by key release"},
				"BundleByAnother":   {signed, another.Bundle(sign), "no signature by key release"},
				"EnvelopeByAnother": {attested, another.Envelope(attest), "no attestation " + provenance},
				"SimpleOfAnother":   {signed, key.Simple(signaturetest.Payload(other())), "and not this image"},
				"BundleOfAnother":   {signed, key.Bundle(signaturetest.Statement(other(), signaturetest.SignaturePredicate, "{}")), "does not match any digest"},
				"AttestedOfAnother": {attested, key.Envelope(signaturetest.Statement(other(), provenance, "{}")), "does not match any digest"},

				"AttestationIsNoSignature": {signed, key.Bundle(attest), "the registry has none"},
				"EnvelopeIsNoSignature":    {signed, key.Envelope(sign), "the registry has none"},
				"SignatureIsNoAttestation": {attested, key.Simple(signaturetest.Payload(image())), "the registry has none"},
				"AttestationOfAnotherType": {attested, key.Bundle(signaturetest.Statement(image(), "https://spdx.dev/Document", "{}")), "the registry has none"},
			}
			for name, tc := range cases {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					told(t, tc.verifier.Verify(image(), signature.Material{Items: []signature.Item{tc.item}}), tc.reason)
				})
			}
		})
	}
}

// TestReplay takes a signature of another repository, which the same key has signed: the same image, offered as another one.
func TestReplay(t *testing.T) {
	t.Parallel()
	key := signaturetest.ECDSA(t)
	elsewhere := image()
	elsewhere.Repository = "ghcr.io/acme/tools"
	m := signature.Material{Items: []signature.Item{key.Simple(signaturetest.Payload(elsewhere))}}
	told(t, by(t, signature.Trust{}, signature.Config{Keys: []string{key.Public}}).Verify(image(), m), `signed as an image of "ghcr.io/acme/tools"`)
	told(t, by(t, signature.Trust{}, signature.Config{Keys: []string{key.Public}, SignedAs: []string{"ghcr.io/acme/tools"}}).Verify(image(), m), "")
}

// TestNothingSigned has a signature over nothing at all, which says nothing about any digest.
func TestNothingSigned(t *testing.T) {
	t.Parallel()
	digest, err := hex.DecodeString(strings.TrimPrefix(image().Digest, "sha256:"))
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]signaturetest.Key{"Ed25519": signaturetest.Ed25519(t), "ECDSA": signaturetest.ECDSA(t)} {
		body := fmt.Appendf(nil, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"}},`+
			`"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":%q},"signature":%q}}`,
			base64.StdEncoding.EncodeToString(digest), base64.StdEncoding.EncodeToString(key.Sign(nil)))
		m := signature.Material{Items: []signature.Item{{Kind: signature.Bundle, Where: "referrer", Body: body}}}
		if got := by(t, signature.Trust{}, signature.Config{Keys: []string{key.Public}}).Verify(image(), m); got.Kept {
			t.Errorf("%s: a signature over nothing vouches for %s", name, image().Digest)
		}
	}
}

// TestAll keeps an image out that keeps one of two rules alone.
func TestAll(t *testing.T) {
	t.Parallel()
	release, build := signaturetest.ECDSA(t), signaturetest.Ed25519(t)
	v := by(t, signature.Trust{}, signature.Config{Keys: []string{build.Public, release.Public}}, signature.Config{Keys: []string{build.Public}, Attestation: provenance})
	signed := release.Simple(signaturetest.Payload(image()))
	attested := build.Envelope(signaturetest.Statement(image(), provenance, "{}"))
	told(t, v.Verify(image(), signature.Material{Items: []signature.Item{signed}}), "no attestation")
	told(t, v.Verify(image(), signature.Material{Items: []signature.Item{attested}}), "no signature")
	got := v.Verify(image(), signature.Material{Items: []signature.Item{attested, signed}})
	told(t, got, "")
	if len(got.By) != 2 || got.By[0] == got.By[1] {
		t.Errorf("Verify(...): by %q, want the two keys", got.By)
	}
}

// TestHostile gives what nobody has signed, or signed otherwise: none of it is accepted, and all of it has a reason.
func TestHostile(t *testing.T) {
	t.Parallel()
	key := signaturetest.ECDSA(t)
	good := key.Simple(signaturetest.Payload(image()))
	annotated := func(name, text string) signature.Item {
		item := good
		item.Annotations = map[string]string{"dev.cosignproject.cosign/signature": good.Annotations["dev.cosignproject.cosign/signature"]}
		item.Annotations[name] = text
		return item
	}
	body := func(kind signature.Kind, text string) signature.Item {
		return signature.Item{Kind: kind, Body: []byte(text), Annotations: good.Annotations}
	}
	otherType := strings.Replace(string(signaturetest.Payload(image())), "cosign container image signature", "atomic container signature", 1)
	huge := body(signature.SimpleSigning, strings.Repeat(" ", signature.MaxBody+1))
	cases := map[string]struct {
		item   signature.Item
		reason string
	}{
		"NoSignature":       {annotated("dev.cosignproject.cosign/signature", ""), "no signature in base64"},
		"BadBase64":         {annotated("dev.cosignproject.cosign/signature", "%%%"), "no signature in base64"},
		"LongAnnotation":    {annotated("dev.cosignproject.cosign/signature", strings.Repeat("A", signature.MaxAnnotation+1)), "longer than"},
		"BadCertificate":    {annotated("dev.sigstore.cosign/certificate", "certificate"), "not in PEM"},
		"BadTimestamp":      {annotated("dev.sigstore.cosign/rfc3161timestamp", "{"), "timestamp cannot be read"},
		"Huge":              {huge, "are more than"},
		"NoJSON":            {body(signature.SimpleSigning, "{"), "payload cannot be read"},
		"OtherType":         {key.Simple([]byte(otherType)), "and not an image"},
		"NoBundle":          {body(signature.Bundle, "{"), ""},
		"EmptyBundle":       {body(signature.Bundle, "{}"), ""},
		"BundleOfTheFuture": {body(signature.Bundle, `{"mediaType":"application/vnd.dev.sigstore.bundle.v9+json"}`), ""},
		"NoKind":            {body(0, "{}"), "no known form"},
		"ControlCharacters": {key.Simple([]byte(`{"critical":{"type":"a` + `\n` + `b"}}`)), "and not an image"},
	}
	v := by(t, signature.Trust{}, signature.Config{Keys: []string{key.Public}})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := v.Verify(image(), signature.Material{Items: []signature.Item{tc.item}})
			if got.Kept || !strings.Contains(got.Reason, tc.reason) || strings.ContainsAny(got.Reason, "\n\r") || len(got.Reason) > 1500 {
				t.Errorf("Verify(...): kept %v, %q; want %q", got.Kept, got.Reason, tc.reason)
			}
			// It spoils nothing else.
			told(t, v.Verify(image(), signature.Material{Items: []signature.Item{tc.item, good, tc.item}}), "")
		})
	}
}

// TestThousands gives more signatures than are looked at: the newest count, and the reason says how many did not.
func TestThousands(t *testing.T) {
	t.Parallel()
	key, another := signaturetest.ECDSA(t), signaturetest.ECDSA(t)
	v := by(t, signature.Trust{}, signature.Config{Keys: []string{key.Public}})
	many := make([]signature.Item, 5000)
	for i := range many {
		many[i] = another.Simple(signaturetest.Payload(image()))
	}
	got := v.Verify(image(), signature.Material{Items: many})
	told(t, got, "125 others neither; 4872 more were not looked at")
	many[len(many)-1] = key.Simple(signaturetest.Payload(image()))
	told(t, v.Verify(image(), signature.Material{Items: many}), "")
}

// TestID tells rules and keys apart: what was verified by others does not count.
func TestID(t *testing.T) {
	t.Parallel()
	one, two := signaturetest.ECDSA(t), signaturetest.ECDSA(t)
	named := signature.Config{Keys: []string{"release"}}
	first := signature.Trust{Keys: map[string][]byte{"release": []byte(one.Public)}}
	second := signature.Trust{Keys: map[string][]byte{"release": []byte(two.Public)}}
	ids := map[string]bool{
		by(t, first, named).ID():  true,
		by(t, second, named).ID(): true,
		by(t, first, signature.Config{Keys: []string{"release"}, Attestation: provenance}).ID():           true,
		by(t, first, signature.Config{Keys: []string{"release"}, SignedAs: []string{"ghcr.io/a/b"}}).ID(): true,
		by(t, first, named, named).ID(): true,
	}
	again := by(t, first, named).ID()
	if len(ids) != 5 || !ids[again] {
		t.Errorf("ID(): %d different ones, want 5", len(ids))
	}
}

// TestWhereIsToldOnOneLine has somebody name the place of a signature so that a terminal obeys it.
func TestWhereIsToldOnOneLine(t *testing.T) {
	t.Parallel()
	item := signaturetest.ECDSA(t).Simple(signaturetest.Payload(image()))
	item.Where = "tag\x1b[2J\n\u202egnp" + strings.Repeat("é", 1000)
	got := by(t, signature.Trust{}, signature.Config{Keys: []string{signaturetest.ECDSA(t).Public}}).Verify(image(), signature.Material{Items: []signature.Item{item}})
	if got.Kept || !strings.Contains(got.Reason, "tag\ufffd[2J \ufffdgnpé") || len(got.Reason) > 1000 || !utf8.ValidString(got.Reason) {
		t.Errorf("reason of %d bytes: %.600q", len(got.Reason), got.Reason)
	}
}
