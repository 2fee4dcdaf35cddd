package signature_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tlog"

	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
)

func TestIdentities(t *testing.T) {
	t.Parallel()
	ours, theirs := signaturetest.NewSigstore(t), signaturetest.NewSigstore(t)
	soon := time.Now().Add(5 * time.Minute)
	payload := signaturetest.Payload(image())
	simple := ours.Simple(soon, payload)
	another := ours.Simple(soon, signaturetest.Payload(other()))
	attested, attestedOld := ours.Attest(signaturetest.Statement(image(), provenance, "{}"))
	signed, _ := ours.Attest(signaturetest.Statement(image(), signaturetest.SignaturePredicate, "{}"))
	foreign, _ := theirs.Attest(signaturetest.Statement(image(), provenance, "{}"))
	with := func(name, text string) signature.Item {
		item := signature.Item{Kind: simple.Kind, Where: simple.Where, Body: simple.Body, Annotations: maps.Clone(simple.Annotations)}
		if item.Annotations[name] = text; text == "" {
			delete(item.Annotations, name)
		}
		return item
	}
	const log, stamp = "dev.sigstore.cosign/bundle", "dev.sigstore.cosign/rfc3161timestamp"
	who := signature.Identity{Issuer: signaturetest.Issuer, Subject: signaturetest.Subject}
	pattern := func(issuer, subject string) signature.Identity {
		return signature.Identity{IssuerPattern: issuer, SubjectPattern: subject}
	}
	cases := map[string]struct {
		who         signature.Identity
		attestation string
		root        signaturetest.Parts
		item        signature.Item
		reason      string
	}{
		"Simple":           {who, "", signaturetest.Parts{Log: true}, simple, ""},
		"Bundle":           {who, "", signaturetest.Parts{Log: true}, signed, ""},
		"AttestedBundle":   {who, provenance, signaturetest.Parts{Log: true}, attested, ""},
		"AttestedEnvelope": {who, provenance, signaturetest.Parts{Log: true}, attestedOld, ""},
		"Patterns":         {pattern("https://token[.].+", "https://github[.]com/acme/api/.+"), "", signaturetest.Parts{Log: true}, simple, ""},
		"TimestampAlone":   {who, "", signaturetest.Parts{Timestamps: true}, with(log, ""), ""},

		"OtherSubject":         {signature.Identity{Issuer: signaturetest.Issuer, Subject: "https://github.com/acme/web"}, "", signaturetest.Parts{Log: true}, simple, "expected SAN value"},
		"OtherIssuer":          {signature.Identity{Issuer: "https://accounts.example.com", Subject: signaturetest.Subject}, "", signaturetest.Parts{Log: true}, simple, "expected issuer value"},
		"PatternOfTheStart":    {pattern("https://token[.].+", "https://github[.]com/acme/api"), "", signaturetest.Parts{Log: true}, simple, "to match regex"},
		"PatternOfTheEnd":      {pattern("https://token[.].+", "refs/tags/v1[.]0[.]0"), "", signaturetest.Parts{Log: true}, simple, "to match regex"},
		"PatternOfAlternative": {pattern("https://token[.].+", "x|https://github[.]com/acme"), "", signaturetest.Parts{Log: true}, simple, "to match regex"},
		"OtherAuthority":       {who, provenance, signaturetest.Parts{Log: true}, foreign, "no attestation"},
		"AnotherImage":         {who, "", signaturetest.Parts{Log: true}, another, "and not this image"},
		"AttestationIsNone":    {who, "", signaturetest.Parts{Log: true}, attested, "the registry has none"},
		"NotInTheLog":          {who, "", signaturetest.Parts{Log: true}, with(log, ""), "not enough verified log entries"},
		"EntryOfAnother":       {who, "", signaturetest.Parts{Log: true}, with(log, another.Annotations[log]), "does not match"},
		"Outdated":             {who, "", signaturetest.Parts{Log: true}, ours.Simple(time.Now().Add(time.Hour), payload), "outside certificate validity"},
		"NoTimestamp":          {who, "", signaturetest.Parts{Timestamps: true}, with(stamp, ""), "timestamp"},
		"TimestampOfAnother":   {who, "", signaturetest.Parts{Timestamps: true}, with(stamp, another.Annotations[stamp]), "timestamp"},
		"NotInCertificateLog":  {who, "", signaturetest.Parts{Log: true, CertificateLog: true}, simple, "certificate timestamp"},
		"BadEntry":             {who, "", signaturetest.Parts{Log: true}, with(log, "{"), "log entry cannot be read"},
		"EntryWithoutBody":     {who, "", signaturetest.Parts{Log: true}, with(log, "{}"), "body of its log entry"},
		"OtherCertificate":     {who, "", signaturetest.Parts{Log: true}, with("dev.sigstore.cosign/certificate", another.Annotations["dev.sigstore.cosign/certificate"]), "does not match"},
		"NoCertificate":        {who, "", signaturetest.Parts{Log: true}, with("dev.sigstore.cosign/certificate", ""), "no certificate"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := by(t, ours.Root(tc.root), signature.Config{Identities: []signature.Identity{tc.who}, Attestation: tc.attestation})
			told(t, v.Verify(image(), signature.Material{Items: []signature.Item{tc.item}}), tc.reason)
		})
	}
}

// TestForgedPromise flips each byte of what the log has signed: an entry counts as it was signed, or not at all.
func TestForgedPromise(t *testing.T) {
	t.Parallel()
	ours := signaturetest.NewSigstore(t)
	item := ours.Simple(time.Now().Add(5*time.Minute), signaturetest.Payload(image()))
	v := by(t, ours.Root(signaturetest.Parts{Log: true}), signature.Config{Identities: []signature.Identity{{Issuer: signaturetest.Issuer, Subject: signaturetest.Subject}}})
	var entry struct {
		SignedEntryTimestamp []byte
		Payload              tlog.RekorPayload
	}
	if err := json.Unmarshal([]byte(item.Annotations["dev.sigstore.cosign/bundle"]), &entry); err != nil {
		t.Fatal(err)
	}
	told(t, v.Verify(image(), signature.Material{Items: []signature.Item{item}}), "")
	later := entry.Payload
	later.IntegratedTime++
	item.Annotations["dev.sigstore.cosign/bundle"] = signaturetest.Logged(t, entry.SignedEntryTimestamp, later)
	told(t, v.Verify(image(), signature.Material{Items: []signature.Item{item}}), "not enough verified log entries")
	for i := range entry.SignedEntryTimestamp {
		forged := append([]byte(nil), entry.SignedEntryTimestamp...)
		forged[i] ^= 1
		item.Annotations["dev.sigstore.cosign/bundle"] = signaturetest.Logged(t, forged, entry.Payload)
		if got := v.Verify(image(), signature.Material{Items: []signature.Item{item}}); got.Kept {
			t.Fatalf("Verify(...): byte %d of the promise makes no difference", i)
		}
	}
}

// TestKeyInTheLog takes a key's signature only with its entry, where the rule says log.
func TestKeyInTheLog(t *testing.T) {
	t.Parallel()
	ours, key := signaturetest.NewSigstore(t), signaturetest.ECDSA(t)
	trust := ours.Root(signaturetest.Parts{Log: true})
	v := by(t, trust, signature.Config{Keys: []string{key.Public}, Log: true})
	item := key.Simple(signaturetest.Payload(image()))
	told(t, v.Verify(image(), signature.Material{Items: []signature.Item{item}}), "not enough verified log entries")

	sum := sha256.Sum256(item.Body)
	body := fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":%q}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`,
		hex.EncodeToString(sum[:]), item.Annotations["dev.cosignproject.cosign/signature"], base64.StdEncoding.EncodeToString([]byte(key.Public)))
	id, err := ours.RekorLogID()
	if err != nil {
		t.Fatal(err)
	}
	payload := tlog.RekorPayload{Body: base64.StdEncoding.EncodeToString([]byte(body)), IntegratedTime: time.Now().Unix(), LogIndex: 7, LogID: id}
	promise, err := ours.RekorSignPayload(payload)
	if err != nil {
		t.Fatal(err)
	}
	item.Annotations["dev.sigstore.cosign/bundle"] = signaturetest.Logged(t, promise, payload)
	told(t, v.Verify(image(), signature.Material{Items: []signature.Item{item}}), "")
	rule, err := signature.New(signature.Config{Keys: []string{key.Public}, Log: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (signature.Rules{rule}).With(ours.Root(signaturetest.Parts{Timestamps: true})); err == nil {
		t.Error("With(...): a trusted root without a log vouches for entries")
	}
}
