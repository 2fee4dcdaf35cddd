package signature

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
)

// Limits on what is read about one image. Whoever may push to a repository may also push signatures.
const (
	// MaxItems bounds the signatures and attestations that are looked at.
	MaxItems = 128
	// MaxBody bounds one of them, in bytes: attestations carry lists of all parts of an image.
	MaxBody = 8 << 20
	// MaxBytes bounds all of them together.
	MaxBytes = 32 << 20
	// MaxRelayed bounds what is kept of them for clusters and relayed to these, in bytes.
	MaxRelayed = 4 << 20
	// MaxAnnotation bounds an annotation that belongs to a signature, in bytes.
	MaxAnnotation = 64 << 10
)

// Kind is the form of a signature or an attestation.
type Kind uint8

// The forms; see the package.
const (
	Bundle Kind = iota + 1
	SimpleSigning
	Envelope
)

// The media types of each form.
const (
	// BundleType begins the media type of a bundle, whose version follows.
	BundleType = "application/vnd.dev.sigstore.bundle"
	// SimpleSigningType is the media type of a payload.
	SimpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json"
	// EnvelopeType is the media type of an envelope.
	EnvelopeType = "application/vnd.dsse.envelope.v1+json"
)

// The annotations of the older forms.
const (
	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationLog         = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// Annotations are those of an item that are kept.
func Annotations() []string {
	return []string{annotationSignature, annotationCertificate, annotationLog, annotationTimestamp}
}

// Item is a signature or an attestation as a registry has it. All of it is foreign.
type Item struct {
	Kind Kind
	// Where says where it was found, such as "referrer sha256:...".
	Where string
	Body  []byte
	// Annotations are those of [Annotations] that it has.
	Annotations map[string]string
}

// Material is what a registry has about the signatures of an image.
type Material struct {
	Items []Item
	// Skipped is how many there are besides that were not read, because of the limits or of their form.
	Skipped int
}

// evidence is an item that was understood. It may still be signed by anybody, and about anything.
type evidence struct {
	where string
	// byKey and byCertificate are the bundle for either kind of signer; nil if it cannot be by one.
	byKey, byCertificate *bundle.Bundle
	// payload is what a simple signature signs; nil for the others, whose bundles carry it or stand for the image itself.
	payload []byte
}

// understand reads an item.
func understand(i Item, log bool) (evidence, error) {
	if len(i.Body) > MaxBody {
		return evidence{}, fmt.Errorf("%d bytes are more than %d", len(i.Body), MaxBody)
	}
	for _, text := range i.Annotations {
		if len(text) > MaxAnnotation {
			return evidence{}, fmt.Errorf("an annotation of %d bytes is longer than %d", len(text), MaxAnnotation)
		}
	}
	e := evidence{where: i.Where}
	var err error
	switch i.Kind {
	case Bundle:
		e.byKey = &bundle.Bundle{}
		err = e.byKey.UnmarshalJSON(i.Body)
		e.byCertificate = e.byKey
	case SimpleSigning:
		e.payload = i.Body
		err = e.older(i, log, simpleContent)
	case Envelope:
		err = e.older(i, log, envelopeContent)
	default:
		err = errors.New("of no known form")
	}
	return e, err
}

// older turns an item of an older form into bundles.
func (e *evidence) older(i Item, log bool, content func(Item, *protobundle.Bundle) error) error {
	key, err := olderBundle(i, log, content, &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}},
	})
	if err != nil {
		return err
	}
	e.byKey = key
	certificate, found := i.Annotations[annotationCertificate]
	if !found {
		return nil
	}
	block, _ := pem.Decode([]byte(certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return errors.New("its certificate is not in PEM")
	}
	e.byCertificate, err = olderBundle(i, true, content, &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
			Certificates: []*protocommon.X509Certificate{{RawBytes: block.Bytes}},
		}},
	})
	return err
}

// olderMediaType is that of the only bundles whose log entries may have a promise alone.
const olderMediaType = BundleType + "+json;version=0.1"

func olderBundle(i Item, log bool, content func(Item, *protobundle.Bundle) error, material *protobundle.VerificationMaterial) (*bundle.Bundle, error) {
	b := &protobundle.Bundle{MediaType: olderMediaType, VerificationMaterial: material}
	if err := content(i, b); err != nil {
		return nil, err
	}
	if err := timestamp(i, material); err != nil {
		return nil, err
	}
	if log {
		if err := logEntry(i, material); err != nil {
			return nil, err
		}
	}
	return bundle.NewBundle(b)
}

func simpleContent(i Item, b *protobundle.Bundle) error {
	signed, err := base64.StdEncoding.DecodeString(i.Annotations[annotationSignature])
	if err != nil || len(signed) == 0 {
		return errors.New("its annotation has no signature in base64")
	}
	sum := sha256.Sum256(i.Body)
	b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
		Signature:     signed,
	}}
	return nil
}

func envelopeContent(i Item, b *protobundle.Bundle) error {
	var envelope struct {
		PayloadType string `json:"payloadType"`
		Payload     []byte `json:"payload"`
		Signatures  []struct {
			KeyID string `json:"keyid"`
			Sig   []byte `json:"sig"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(i.Body, &envelope); err != nil {
		return fmt.Errorf("not an envelope: %w", err)
	}
	if len(envelope.Signatures) != 1 {
		return fmt.Errorf("an envelope with %d signatures; one is read", len(envelope.Signatures))
	}
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
		PayloadType: envelope.PayloadType, Payload: envelope.Payload,
		Signatures: []*protodsse.Signature{{Keyid: envelope.Signatures[0].KeyID, Sig: envelope.Signatures[0].Sig}},
	}}
	return nil
}

// logEntry takes the entry of a transparency log from an annotation.
func logEntry(i Item, material *protobundle.VerificationMaterial) error {
	text, found := i.Annotations[annotationLog]
	if !found {
		return nil
	}
	var entry struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal([]byte(text), &entry); err != nil {
		return fmt.Errorf("its log entry cannot be read: %w", err)
	}
	var kind struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.Unmarshal(entry.Payload.Body, &kind); err != nil {
		return fmt.Errorf("the body of its log entry cannot be read: %w", err)
	}
	logID, err := hex.DecodeString(entry.Payload.LogID)
	if err != nil {
		return fmt.Errorf("the log of its log entry cannot be read: %w", err)
	}
	material.TlogEntries = []*protorekor.TransparencyLogEntry{{
		LogIndex: entry.Payload.LogIndex, LogId: &protocommon.LogId{KeyId: logID},
		KindVersion:    &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		IntegratedTime: entry.Payload.IntegratedTime, CanonicalizedBody: entry.Payload.Body,
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: entry.SignedEntryTimestamp},
	}}
	return nil
}

// timestamp takes what a timestamp authority has signed from an annotation.
func timestamp(i Item, material *protobundle.VerificationMaterial) error {
	text, found := i.Annotations[annotationTimestamp]
	if !found {
		return nil
	}
	var stamp struct {
		SignedRFC3161Timestamp []byte
	}
	if err := json.Unmarshal([]byte(text), &stamp); err != nil {
		return fmt.Errorf("its timestamp cannot be read: %w", err)
	}
	material.TimestampVerificationData = &protobundle.TimestampVerificationData{
		Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp.SignedRFC3161Timestamp}},
	}
	return nil
}

// Size is what the item takes, in bytes.
func (i Item) Size() int {
	size := len(i.Body)
	for key, text := range i.Annotations {
		size += len(key) + len(text)
	}
	return size
}

// Relayed returns the items that are kept for clusters, in their order: those that fit into MaxRelayed, also behind one that does not.
func (m Material) Relayed() Material {
	most := MaxRelayed
	kept := Material{Skipped: m.Skipped}
	for _, item := range m.Items {
		if size := item.Size(); size <= most && len(kept.Items) < MaxItems {
			kept.Items = append(kept.Items, item)
			most -= size
			continue
		}
		kept.Skipped++
	}
	return kept
}

// Bounded returns the material within the limits: the last items, which are the newest where cosign appends.
func (m Material) Bounded() Material {
	total := 0
	var kept []Item
	for i, item := range slices.Backward(m.Items) {
		total += len(item.Body)
		if len(kept) == MaxItems || total > MaxBytes {
			return Material{Items: kept, Skipped: m.Skipped + i + 1}
		}
		kept = append(kept, item)
	}
	return Material{Items: kept, Skipped: m.Skipped}
}
