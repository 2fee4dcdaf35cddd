// Package signaturetest signs images in tests as cosign does: with keys, in the older forms and as bundles.
package signaturetest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	sigstore "github.com/sigstore/sigstore/pkg/signature"

	"github.com/tandem-cd/tandem/shared/signature"
)

// Key is a key pair.
type Key struct {
	tb     testing.TB
	signer sigstore.Signer
	// Public is the public half in PEM.
	Public string
}

// ECDSA returns a key as `cosign generate-key-pair` makes it.
func ECDSA(tb testing.TB) Key { return curve(tb, elliptic.P256()) }

// ECDSA384 returns a key of another curve.
func ECDSA384(tb testing.TB) Key { return curve(tb, elliptic.P384()) }

func curve(tb testing.TB, c elliptic.Curve) Key {
	tb.Helper()
	private, err := ecdsa.GenerateKey(c, rand.Reader)
	must(tb, err)
	return newKey(tb, private, private.Public())
}

// Ed25519 returns a key.
func Ed25519(tb testing.TB) Key {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(tb, err)
	return newKey(tb, private, public)
}

// RSA returns a key.
func RSA(tb testing.TB) Key {
	tb.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	must(tb, err)
	return newKey(tb, private, private.Public())
}

func newKey(tb testing.TB, private crypto.PrivateKey, public crypto.PublicKey) Key {
	tb.Helper()
	signer, err := sigstore.LoadSigner(private, crypto.SHA256) // as cosign does, whatever the key
	must(tb, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	must(tb, err)
	return Key{tb: tb, signer: signer, Public: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// Sign signs bytes.
func (k Key) Sign(message []byte) []byte {
	k.tb.Helper()
	signed, err := k.signer.SignMessage(bytes.NewReader(message))
	must(k.tb, err)
	return signed
}

// Payload is what cosign's older form signs.
func Payload(image signature.Image) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`,
		image.Repository, image.Digest)
}

// Simple signs a payload in the older form.
func (k Key) Simple(payload []byte) signature.Item {
	return signature.Item{Kind: signature.SimpleSigning, Where: "tag", Body: payload, Annotations: map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(k.Sign(payload)),
	}}
}

// SignaturePredicate is the predicate type of a signature in a bundle.
const SignaturePredicate = "https://sigstore.dev/cosign/sign/v1"

// Statement is an in-toto statement about an image.
func Statement(image signature.Image, predicateType, predicate string) []byte {
	algorithm, digest, _ := strings.Cut(image.Digest, ":")
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"","digest":{%q:%q}}],"predicateType":%q,"predicate":%s}`,
		algorithm, digest, predicateType, predicate)
}

const payloadType = "application/vnd.in-toto+json"

func (k Key) envelope(statement []byte) []byte {
	text, err := json.Marshal(map[string]any{
		"payloadType": payloadType, "payload": statement,
		"signatures": []map[string]any{{"sig": k.Sign(dsse.PAE(payloadType, statement))}},
	})
	must(k.tb, err)
	return text
}

// Envelope attests in the older form.
func (k Key) Envelope(statement []byte) signature.Item {
	return signature.Item{Kind: signature.Envelope, Where: "tag", Body: k.envelope(statement), Annotations: map[string]string{"dev.cosignproject.cosign/signature": ""}}
}

// Bundle signs a statement as cosign does by default since version 3.
func (k Key) Bundle(statement []byte) signature.Item {
	hint := sha256.Sum256([]byte(k.Public))
	body := fmt.Appendf(nil, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":%q}},"dsseEnvelope":%s}`,
		base64.StdEncoding.EncodeToString(hint[:]), k.envelope(statement))
	return signature.Item{Kind: signature.Bundle, Where: "referrer", Body: body}
}

// Digest makes a digest of a text.
func Digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}
