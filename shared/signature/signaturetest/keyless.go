package signaturetest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
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

	"github.com/tandem-cd/tandem/shared/signature"
)

// Whom certificates of a Sigstore are for.
const (
	Issuer  = "https://token.actions.githubusercontent.com"
	Subject = "https://github.com/acme/api/.github/workflows/release.yaml@refs/tags/v1.0.0"
)

// Sigstore is an instance of Sigstore: an authority, a log and a timestamp authority, with keys of a test.
type Sigstore struct {
	*ca.VirtualSigstore

	tb testing.TB
}

// NewSigstore returns an instance.
func NewSigstore(tb testing.TB) Sigstore {
	tb.Helper()
	virtual, err := ca.NewVirtualSigstore()
	if err != nil {
		tb.Fatal(err)
	}
	return Sigstore{virtual, tb}
}

// Parts are what a trusted root has of an instance besides its authority.
type Parts struct{ Log, Timestamps, CertificateLog bool }

// Root is the instance's trusted root, as its file has it.
func (s Sigstore) Root(has Parts) signature.Trust {
	s.tb.Helper()
	var logs, certificateLogs map[string]*root.TransparencyLog
	if has.Log {
		logs = s.raw(s.RekorLogs())
	}
	if has.CertificateLog {
		certificateLogs = s.raw(s.CTLogs())
	}
	var stamps []root.TimestampingAuthority
	if has.Timestamps {
		stamps = s.TimestampingAuthorities()
	}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, s.FulcioCertificateAuthorities(), certificateLogs, stamps, logs)
	if err != nil {
		s.tb.Fatal(err)
	}
	text, err := trusted.MarshalJSON()
	if err != nil {
		s.tb.Fatal(err)
	}
	return signature.Trust{Root: text}
}

// raw gives logs the ids that files have: the instance calls them by their text.
func (s Sigstore) raw(logs map[string]*root.TransparencyLog) map[string]*root.TransparencyLog {
	s.tb.Helper()
	for text, log := range logs {
		id, err := hex.DecodeString(text)
		if err != nil {
			s.tb.Fatal(err)
		}
		log.ID = id
	}
	return logs
}

// Simple signs a payload in the older form, at a time.
func (s Sigstore) Simple(at time.Time, payload []byte) signature.Item {
	s.tb.Helper()
	entity, err := s.SignAtTime(Subject, Issuer, payload, at)
	if err != nil {
		s.tb.Fatal(err)
	}
	content, err := entity.SignatureContent()
	if err != nil {
		s.tb.Fatal(err)
	}
	annotations := s.older(entity)
	annotations["dev.cosignproject.cosign/signature"] = base64.StdEncoding.EncodeToString(content.Signature())
	return signature.Item{Kind: signature.SimpleSigning, Where: "tag", Body: payload, Annotations: annotations}
}

// older are the annotations of the older forms: the certificate, the log's promise and the timestamp.
func (s Sigstore) older(entity *ca.TestEntity) map[string]string {
	s.tb.Helper()
	verification, err := entity.VerificationContent()
	if err != nil {
		s.tb.Fatal(err)
	}
	stamps, err := entity.Timestamps()
	if err != nil {
		s.tb.Fatal(err)
	}
	entry := s.entry(entity)
	return map[string]string{
		"dev.sigstore.cosign/certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: verification.Certificate().Raw})),
		"dev.sigstore.cosign/bundle": Logged(s.tb, entry.GetInclusionPromise().GetSignedEntryTimestamp(), tlog.RekorPayload{
			Body: base64.StdEncoding.EncodeToString(entry.GetCanonicalizedBody()), IntegratedTime: entry.GetIntegratedTime(),
			LogIndex: entry.GetLogIndex(), LogID: hex.EncodeToString(entry.GetLogId().GetKeyId()),
		}),
		"dev.sigstore.cosign/rfc3161timestamp": fmt.Sprintf(`{"SignedRFC3161Timestamp":%q}`, base64.StdEncoding.EncodeToString(stamps[0])),
	}
}

// entry is the entry of the log about an entity, with the log's promise.
func (s Sigstore) entry(entity *ca.TestEntity) *protorekor.TransparencyLogEntry {
	s.tb.Helper()
	entries, err := entity.TlogEntries()
	if err != nil {
		s.tb.Fatal(err)
	}
	entry := entries[0].TransparencyLogEntry()
	promise, err := s.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(entry.GetCanonicalizedBody()), IntegratedTime: entry.GetIntegratedTime(),
		LogIndex: entry.GetLogIndex(), LogID: hex.EncodeToString(entry.GetLogId().GetKeyId()),
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	entry.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: promise}
	entry.KindVersion = &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"}
	return entry
}

// Logged is the annotation with an entry of a log.
func Logged(tb testing.TB, promise []byte, payload tlog.RekorPayload) string {
	tb.Helper()
	text, err := json.Marshal(map[string]any{"SignedEntryTimestamp": promise, "Payload": payload})
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// Attest attests as a bundle, and in the older form.
func (s Sigstore) Attest(statement []byte) (bundle, older signature.Item) {
	s.tb.Helper()
	entity, err := s.AttestAtTime(Subject, Issuer, statement, time.Now().Add(5*time.Minute), true)
	if err != nil {
		s.tb.Fatal(err)
	}
	content, err := entity.SignatureContent()
	if err != nil {
		s.tb.Fatal(err)
	}
	verification, err := entity.VerificationContent()
	if err != nil {
		s.tb.Fatal(err)
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
		s.tb.Fatal(err)
	}
	old, err := json.Marshal(envelope)
	if err != nil {
		s.tb.Fatal(err)
	}
	return signature.Item{Kind: signature.Bundle, Where: "referrer", Body: text},
		signature.Item{Kind: signature.Envelope, Where: "tag", Body: old, Annotations: s.older(entity)}
}
