package signature_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tandem-cd/tandem/automator/internal/signature"
	"github.com/tandem-cd/tandem/automator/internal/signature/signaturetest"
)

const (
	issuer  = "https://token.actions.githubusercontent.com"
	subject = "https://github.com/acme/api/.github/workflows/release.yaml@refs/tags/v1.0.0"
)

// sigstore is an instance of Sigstore: an authority, a log and a timestamp authority, with keys of this test.
type sigstore struct {
	*ca.VirtualSigstore

	t testing.TB
}

func newSigstore(t testing.TB) sigstore {
	t.Helper()
	virtual, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	return sigstore{virtual, t}
}

// parts are what a trusted root has of an instance besides its authority.
type parts struct{ log, timestamps, certificateLog bool }

// root is the instance's trusted root, as its file has it.
func (s sigstore) root(has parts) signature.Trust {
	s.t.Helper()
	var logs, certificateLogs map[string]*root.TransparencyLog
	if has.log {
		logs = s.raw(s.RekorLogs())
	}
	if has.certificateLog {
		certificateLogs = s.raw(s.CTLogs())
	}
	var stamps []root.TimestampingAuthority
	if has.timestamps {
		stamps = s.TimestampingAuthorities()
	}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, s.FulcioCertificateAuthorities(), certificateLogs, stamps, logs)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := trusted.MarshalJSON()
	if err != nil {
		s.t.Fatal(err)
	}
	return signature.Trust{Root: text}
}

// raw gives logs the ids that files have: the instance calls them by their text.
func (s sigstore) raw(logs map[string]*root.TransparencyLog) map[string]*root.TransparencyLog {
	s.t.Helper()
	for text, log := range logs {
		id, err := hex.DecodeString(text)
		if err != nil {
			s.t.Fatal(err)
		}
		log.ID = id
	}
	return logs
}

// simple signs a payload in the older form, at a time.
func (s sigstore) simple(at time.Time, payload []byte) signature.Item {
	s.t.Helper()
	entity, err := s.SignAtTime(subject, issuer, payload, at)
	if err != nil {
		s.t.Fatal(err)
	}
	content, err := entity.SignatureContent()
	if err != nil {
		s.t.Fatal(err)
	}
	annotations := s.older(entity)
	annotations["dev.cosignproject.cosign/signature"] = base64.StdEncoding.EncodeToString(content.Signature())
	return signature.Item{Kind: signature.SimpleSigning, Where: "tag", Body: payload, Annotations: annotations}
}

// older are the annotations of the older forms: the certificate, the log's promise and the timestamp.
func (s sigstore) older(entity *ca.TestEntity) map[string]string {
	s.t.Helper()
	verification, err := entity.VerificationContent()
	if err != nil {
		s.t.Fatal(err)
	}
	stamps, err := entity.Timestamps()
	if err != nil {
		s.t.Fatal(err)
	}
	entry := s.entry(entity)
	return map[string]string{
		"dev.sigstore.cosign/certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: verification.Certificate().Raw})),
		"dev.sigstore.cosign/bundle": logged(s.t, entry.GetInclusionPromise().GetSignedEntryTimestamp(), tlog.RekorPayload{
			Body: base64.StdEncoding.EncodeToString(entry.GetCanonicalizedBody()), IntegratedTime: entry.GetIntegratedTime(),
			LogIndex: entry.GetLogIndex(), LogID: hex.EncodeToString(entry.GetLogId().GetKeyId()),
		}),
		"dev.sigstore.cosign/rfc3161timestamp": fmt.Sprintf(`{"SignedRFC3161Timestamp":%q}`, base64.StdEncoding.EncodeToString(stamps[0])),
	}
}

// entry is the entry of the log about an entity, with the log's promise.
func (s sigstore) entry(entity *ca.TestEntity) *protorekor.TransparencyLogEntry {
	s.t.Helper()
	entries, err := entity.TlogEntries()
	if err != nil {
		s.t.Fatal(err)
	}
	entry := entries[0].TransparencyLogEntry()
	promise, err := s.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(entry.GetCanonicalizedBody()), IntegratedTime: entry.GetIntegratedTime(),
		LogIndex: entry.GetLogIndex(), LogID: hex.EncodeToString(entry.GetLogId().GetKeyId()),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	entry.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: promise}
	entry.KindVersion = &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"}
	return entry
}

func logged(t testing.TB, promise []byte, payload tlog.RekorPayload) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"SignedEntryTimestamp": promise, "Payload": payload})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// attest attests as a bundle, and in the older form.
func (s sigstore) attest(statement []byte) (bundle, older signature.Item) {
	s.t.Helper()
	entity, err := s.AttestAtTime(subject, issuer, statement, time.Now().Add(5*time.Minute), true)
	if err != nil {
		s.t.Fatal(err)
	}
	content, err := entity.SignatureContent()
	if err != nil {
		s.t.Fatal(err)
	}
	verification, err := entity.VerificationContent()
	if err != nil {
		s.t.Fatal(err)
	}
	envelope := content.EnvelopeContent().RawEnvelope()
	b := &protobundle.Bundle{
		MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: verification.Certificate().Raw}},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			PayloadType: envelope.PayloadType, Payload: statement, Signatures: []*protodsse.Signature{{Sig: content.Signature()}},
		}},
	}
	b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, s.entry(entity))
	text, err := protojson.Marshal(b)
	if err != nil {
		s.t.Fatal(err)
	}
	old, err := json.Marshal(envelope)
	if err != nil {
		s.t.Fatal(err)
	}
	return signature.Item{Kind: signature.Bundle, Where: "referrer", Body: text},
		signature.Item{Kind: signature.Envelope, Where: "tag", Body: old, Annotations: s.older(entity)}
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	ours, theirs := newSigstore(t), newSigstore(t)
	soon := time.Now().Add(5 * time.Minute)
	payload := signaturetest.Payload(image())
	simple := ours.simple(soon, payload)
	another := ours.simple(soon, signaturetest.Payload(other()))
	attested, attestedOld := ours.attest(signaturetest.Statement(image(), provenance, "{}"))
	signed, _ := ours.attest(signaturetest.Statement(image(), signaturetest.SignaturePredicate, "{}"))
	foreign, _ := theirs.attest(signaturetest.Statement(image(), provenance, "{}"))
	with := func(name, text string) signature.Item {
		item := signature.Item{Kind: simple.Kind, Where: simple.Where, Body: simple.Body, Annotations: maps.Clone(simple.Annotations)}
		if item.Annotations[name] = text; text == "" {
			delete(item.Annotations, name)
		}
		return item
	}
	const log, stamp = "dev.sigstore.cosign/bundle", "dev.sigstore.cosign/rfc3161timestamp"
	who := signature.Identity{Issuer: issuer, Subject: subject}
	pattern := func(issuer, subject string) signature.Identity {
		return signature.Identity{IssuerPattern: issuer, SubjectPattern: subject}
	}
	cases := map[string]struct {
		who         signature.Identity
		attestation string
		root        parts
		item        signature.Item
		reason      string
	}{
		"Simple":           {who, "", parts{log: true}, simple, ""},
		"Bundle":           {who, "", parts{log: true}, signed, ""},
		"AttestedBundle":   {who, provenance, parts{log: true}, attested, ""},
		"AttestedEnvelope": {who, provenance, parts{log: true}, attestedOld, ""},
		"Patterns":         {pattern("https://token[.].+", "https://github[.]com/acme/api/.+"), "", parts{log: true}, simple, ""},
		"TimestampAlone":   {who, "", parts{timestamps: true}, with(log, ""), ""},

		"OtherSubject":         {signature.Identity{Issuer: issuer, Subject: "https://github.com/acme/web"}, "", parts{log: true}, simple, "expected SAN value"},
		"OtherIssuer":          {signature.Identity{Issuer: "https://accounts.example.com", Subject: subject}, "", parts{log: true}, simple, "expected issuer value"},
		"PatternOfTheStart":    {pattern("https://token[.].+", "https://github[.]com/acme/api"), "", parts{log: true}, simple, "to match regex"},
		"PatternOfTheEnd":      {pattern("https://token[.].+", "refs/tags/v1[.]0[.]0"), "", parts{log: true}, simple, "to match regex"},
		"PatternOfAlternative": {pattern("https://token[.].+", "x|https://github[.]com/acme"), "", parts{log: true}, simple, "to match regex"},
		"OtherAuthority":       {who, provenance, parts{log: true}, foreign, "no attestation"},
		"AnotherImage":         {who, "", parts{log: true}, another, "and not this image"},
		"AttestationIsNone":    {who, "", parts{log: true}, attested, "the registry has none"},
		"NotInTheLog":          {who, "", parts{log: true}, with(log, ""), "not enough verified log entries"},
		"EntryOfAnother":       {who, "", parts{log: true}, with(log, another.Annotations[log]), "does not match"},
		"Outdated":             {who, "", parts{log: true}, ours.simple(time.Now().Add(time.Hour), payload), "outside certificate validity"},
		"NoTimestamp":          {who, "", parts{timestamps: true}, with(stamp, ""), "timestamp"},
		"TimestampOfAnother":   {who, "", parts{timestamps: true}, with(stamp, another.Annotations[stamp]), "timestamp"},
		"NotInCertificateLog":  {who, "", parts{log: true, certificateLog: true}, simple, "certificate timestamp"},
		"BadEntry":             {who, "", parts{log: true}, with(log, "{"), "log entry cannot be read"},
		"EntryWithoutBody":     {who, "", parts{log: true}, with(log, "{}"), "body of its log entry"},
		"OtherCertificate":     {who, "", parts{log: true}, with("dev.sigstore.cosign/certificate", another.Annotations["dev.sigstore.cosign/certificate"]), "does not match"},
		"NoCertificate":        {who, "", parts{log: true}, with("dev.sigstore.cosign/certificate", ""), "no certificate"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := by(t, ours.root(tc.root), signature.Config{Identities: []signature.Identity{tc.who}, Attestation: tc.attestation})
			told(t, v.Verify(image(), signature.Material{Items: []signature.Item{tc.item}}), tc.reason)
		})
	}
}

// TestForgedPromise flips each byte of what the log has signed: an entry counts as it was signed, or not at all.
func TestForgedPromise(t *testing.T) {
	t.Parallel()
	ours := newSigstore(t)
	item := ours.simple(time.Now().Add(5*time.Minute), signaturetest.Payload(image()))
	v := by(t, ours.root(parts{log: true}), signature.Config{Identities: []signature.Identity{{Issuer: issuer, Subject: subject}}})
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
	item.Annotations["dev.sigstore.cosign/bundle"] = logged(t, entry.SignedEntryTimestamp, later)
	told(t, v.Verify(image(), signature.Material{Items: []signature.Item{item}}), "not enough verified log entries")
	for i := range entry.SignedEntryTimestamp {
		forged := append([]byte(nil), entry.SignedEntryTimestamp...)
		forged[i] ^= 1
		item.Annotations["dev.sigstore.cosign/bundle"] = logged(t, forged, entry.Payload)
		if got := v.Verify(image(), signature.Material{Items: []signature.Item{item}}); got.Kept {
			t.Fatalf("Verify(...): byte %d of the promise makes no difference", i)
		}
	}
}

// TestKeyInTheLog takes a key's signature only with its entry, where the rule says log.
func TestKeyInTheLog(t *testing.T) {
	t.Parallel()
	ours, key := newSigstore(t), signaturetest.ECDSA(t)
	trust := ours.root(parts{log: true})
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
	item.Annotations["dev.sigstore.cosign/bundle"] = logged(t, promise, payload)
	told(t, v.Verify(image(), signature.Material{Items: []signature.Item{item}}), "")
	rule, err := signature.New(signature.Config{Keys: []string{key.Public}, Log: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (signature.Rules{rule}).With(ours.root(parts{timestamps: true})); err == nil {
		t.Error("With(...): a trusted root without a log vouches for entries")
	}
}
