package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/signature"
)

// Limits on what is read about the signatures of one image, besides those of package signature.
const (
	// maxReferrers bounds the artifacts that are asked for; a list may name more.
	maxReferrers = 64
	// signaturesTimeout bounds all requests about one image.
	signaturesTimeout = time.Minute
)

// cosignArtifactType begins the artifact types of what cosign attaches, besides bundles.
const cosignArtifactType = "application/vnd.dev.cosign.artifact."

// emptyConfigType is the media type of a configuration that says nothing.
const emptyConfigType = "application/vnd.oci.empty.v1+json"

var errSignaturesTimeout = fmt.Errorf("reading them took longer than %s", signaturesTimeout)

// errMalformed says that something was pushed which is of no use, and will not be the next time.
var errMalformed = errors.New("malformed")

// Signatures reads what a registry has about the signatures of an image: the artifacts that refer to it, by the registry's
// own list or by the tag that stands for one, and the tags of cosign's older form. What is there and cannot be read is
// counted; an error says that the registry did not answer, so that nothing is known.
func (c *Client) Signatures(ctx context.Context, repository, digest string) (signature.Material, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, signaturesTimeout, errSignaturesTimeout)
	defer cancel()
	hash, err := v1.NewHash(digest)
	if err != nil {
		return signature.Material{}, fault.New(fault.Invalid, "signatures of %s: %.100q is not a digest", repository, digest)
	}
	var material signature.Material
	err = c.each(ctx, repository, func(ctx context.Context, p place) error {
		r := signatureReader{place: p, subject: hash}
		err := p.ask(ctx, func(puller *remote.Puller) error {
			r.puller = puller
			return r.read(ctx)
		})
		material = r.material
		if err == nil && len(material.Items) == 0 {
			return errNone // a mirror may have images alone, or nothing of use
		}
		return p.explain(ctx, subject{repository: p.repository, signed: digest}, err)
	})
	if err != nil && !errors.Is(err, errNone) {
		return signature.Material{}, err
	}
	return material, nil
}

// errNone says that a place has nothing about the signatures of an image, so that the next one is asked.
var errNone = errors.New("it has no signatures")

// tagOf is the tag that stands for the referrers of a digest, and begins those of cosign's older form.
func tagOf(digest v1.Hash) string { return digest.Algorithm + "-" + digest.Hex }

// signatureReader collects what refers to one image.
type signatureReader struct {
	place

	puller   *remote.Puller
	subject  v1.Hash
	material signature.Material
	asked    int   // layers
	bytes    int64 // of them
}

func (r *signatureReader) read(ctx context.Context) error {
	r.material, r.asked, r.bytes = signature.Material{}, 0, 0
	for _, suffix := range []string{".sig", ".att"} {
		err := r.artifact(ctx, r.repository.Tag(tagOf(r.subject)+suffix), false)
		if err != nil && !missing(err) {
			return err
		}
	}
	return r.referrers(ctx)
}

// missing reports whether the registry has no such thing.
func missing(err error) bool {
	answer, ok := errors.AsType[*transport.Error](err)
	return ok && answer.StatusCode == http.StatusNotFound
}

// referrers reads the artifacts that the registry, or the tag that stands for its list, names.
func (r *signatureReader) referrers(ctx context.Context) error {
	var selected selection
	found, err := r.list(ctx, &selected)
	if err == nil && !found {
		err = r.listUnderTag(ctx, &selected)
	}
	if err != nil {
		return err
	}
	r.material.Skipped += selected.dropped
	for _, digest := range slices.Backward(selected.last) {
		err := r.artifact(ctx, r.repository.Digest(digest.String()), true)
		if missing(err) {
			r.material.Skipped++
		} else if err != nil {
			return err
		}
	}
	return nil
}

// isSHA256 tells whether a digest is of the only kind that can be asked for; a list may name anything.
func isSHA256(digest v1.Hash) bool {
	return digest.Algorithm == "sha256" && len(digest.Hex) == sha256.Size*2
}

// attaches tells whether an artifact of a type may be a signature or an attestation. Some registries do not say, or take the
// type of its configuration, which is empty, for its own.
func attaches(artifactType string) bool {
	return artifactType == "" || artifactType == emptyConfigType || strings.HasPrefix(artifactType, signature.BundleType) || strings.HasPrefix(artifactType, cosignArtifactType)
}

// artifact reads the layers of one manifest; one of a list must say itself that it refers to the image.
func (r *signatureReader) artifact(ctx context.Context, ref name.Reference, listed bool) error {
	got, err := r.puller.Get(ctx, ref)
	if err != nil {
		return err
	}
	var manifest struct {
		Subject *v1.Descriptor  `json:"subject"`
		Layers  []v1.Descriptor `json:"layers"`
	}
	readable := json.Unmarshal(got.Manifest, &manifest) == nil
	if !readable || listed && (manifest.Subject == nil || manifest.Subject.Digest != r.subject) {
		r.material.Skipped++
		return nil
	}
	where := "tag " + ref.Identifier()
	if listed {
		where = "referrer " + got.Digest.Hex[:min(len(got.Digest.Hex), shownHex)]
	}
	layers := manifest.Layers
	if more := len(layers) - signature.MaxItems; more > 0 {
		r.material.Skipped += more
		layers = layers[more:] // cosign appends
	}
	for i := range slices.Backward(layers) {
		if err := r.layer(ctx, where, &layers[i]); err != nil {
			return err
		}
	}
	return nil
}

// shownHex is how much of a digest is told.
const shownHex = 12

// layer reads one signature or attestation.
func (r *signatureReader) layer(ctx context.Context, where string, d *v1.Descriptor) error {
	kind := kindOf(string(d.MediaType))
	if kind == 0 || !isSHA256(d.Digest) || d.Size < 0 || d.Size > signature.MaxBody || r.bytes+d.Size > signature.MaxBytes || r.asked >= signature.MaxItems {
		r.material.Skipped++
		return nil
	}
	annotations, ok := annotationsOf(d)
	if !ok {
		r.material.Skipped++
		return nil
	}
	r.asked++
	r.bytes += d.Size
	body, err := r.blob(ctx, d)
	if missing(err) || errors.Is(err, errMalformed) {
		r.material.Skipped++
		return nil
	}
	if err != nil {
		return err
	}
	r.material.Items = append(r.material.Items, signature.Item{Kind: kind, Where: where, Body: body, Annotations: annotations})
	return nil
}

// annotationsOf returns those that belong to a signature; ok is false if one is longer than any that counts.
func annotationsOf(d *v1.Descriptor) (annotations map[string]string, ok bool) {
	annotations = map[string]string{}
	for _, key := range signature.Annotations() {
		text, found := d.Annotations[key]
		if len(text) > signature.MaxAnnotation {
			return nil, false
		}
		if found {
			annotations[key] = text
		}
	}
	return annotations, true
}

func kindOf(mediaType string) signature.Kind {
	switch {
	case strings.HasPrefix(mediaType, signature.BundleType):
		return signature.Bundle
	case mediaType == signature.SimpleSigningType:
		return signature.SimpleSigning
	case mediaType == signature.EnvelopeType:
		return signature.Envelope
	}
	return 0
}

// blob reads a layer whose size is known to be within bounds. What the registry sends is checked against its name on the way.
func (r *signatureReader) blob(ctx context.Context, d *v1.Descriptor) ([]byte, error) {
	layer, err := r.puller.Layer(ctx, r.repository.Digest(d.Digest.String()))
	if err != nil {
		return nil, err
	}
	stream, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	body, err := io.ReadAll(io.LimitReader(stream, d.Size+1))
	if int64(len(body)) > d.Size {
		return nil, fmt.Errorf("%w: more than %d bytes", errMalformed, d.Size)
	}
	return body, err
}
