package registry

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Key signs images, as a key of cosign does.
type Key struct{ private *ecdsa.PrivateKey }

// NewKey makes a key.
func NewKey() (Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return Key{private}, err
}

// Public returns the public half in PEM.
func (k Key) Public() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k.private.Public())
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), err
}

func (k Key) sign(message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return k.private.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// Sign signs an image in cosign's older form: a tag whose layer is what was signed.
func (r *Registry) Sign(ctx context.Context, repo string, image Pushed, key Key) error {
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`,
		image.Repository, image.Digest)
	signed, err := key.sign(payload)
	if err != nil {
		return err
	}
	artifact, err := mutate.Append(base(), mutate.Addendum{
		Layer:       static.NewLayer(payload, "application/vnd.dev.cosign.simplesigning.v1+json"),
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(signed)},
	})
	if err != nil {
		return err
	}
	ref, err := r.reference(repo, strings.Replace(image.Digest, ":", "-", 1)+".sig")
	if err != nil {
		return err
	}
	return remote.Write(ref, artifact, r.remoteOptions(ctx, r.transport)...)
}

// The types of a bundle and of what it carries.
const (
	bundleType    = "application/vnd.dev.sigstore.bundle.v0.3+json"
	statementType = "application/vnd.in-toto+json"
	// SignaturePredicate is the predicate type by which an image itself is signed.
	SignaturePredicate = "https://sigstore.dev/cosign/sign/v1"
)

// Attest attaches a bundle to an image, as cosign does by default since version 3: an artifact that refers to it. With
// SignaturePredicate it is a signature.
func (r *Registry) Attest(ctx context.Context, repo string, image Pushed, predicateType string, key Key) error {
	bundle, err := key.bundle(image, predicateType)
	if err != nil {
		return err
	}
	signedRef, err := r.reference(repo, image.Digest)
	if err != nil {
		return err
	}
	subject, err := remote.Head(signedRef, r.remoteOptions(ctx, r.transport)...)
	if err != nil {
		return err
	}
	artifact, err := mutate.AppendLayers(mutate.ConfigMediaType(base(), bundleType), static.NewLayer(bundle, bundleType))
	if err != nil {
		return err
	}
	attached, ok := mutate.Subject(artifact, *subject).(v1.Image)
	if !ok {
		return fmt.Errorf("attest %s: not an image any more", image.Reference())
	}
	digest, err := attached.Digest()
	if err != nil {
		return err
	}
	ref, err := r.reference(repo, digest.String())
	if err != nil {
		return err
	}
	return remote.Write(ref, attached, r.remoteOptions(ctx, r.transport)...)
}

func base() v1.Image { return mutate.MediaType(empty.Image, types.OCIManifestSchema1) }

// bundle signs a statement about an image.
func (k Key) bundle(image Pushed, predicateType string) ([]byte, error) {
	algorithm, digest, _ := strings.Cut(image.Digest, ":")
	statement := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"","digest":{%q:%q}}],"predicateType":%q,"predicate":{}}`,
		algorithm, digest, predicateType)
	signed, err := k.sign(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(statementType), statementType, len(statement), statement))
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"mediaType":            bundleType,
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": "key of a test"}},
		"dsseEnvelope": map[string]any{
			"payloadType": statementType, "payload": statement, "signatures": []map[string]any{{"sig": signed}},
		},
	})
}
