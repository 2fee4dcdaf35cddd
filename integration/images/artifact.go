package images

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	spdxMediaType  = "application/spdx+json"
	emptyMediaType = "application/vnd.oci.empty.v1+json"
	emptyConfig    = "{}"
)

// artifact is a file that refers to an image, as OCI 1.1 has it.
type artifact struct {
	manifest []byte
	layer    v1.Layer
}

// attach makes the artifact that carries an image's bill of materials.
func attach(image v1.Image, sbom []byte, annotations map[string]string) (v1.Image, error) {
	subject, err := partial.Descriptor(image)
	if err != nil {
		return nil, err
	}
	config, size, err := v1.SHA256(bytes.NewBufferString(emptyConfig))
	if err != nil {
		return nil, err
	}
	layer := static.NewLayer(sbom, spdxMediaType)
	content, err := partial.Descriptor(layer)
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: spdxMediaType,
		Config:      v1.Descriptor{MediaType: emptyMediaType, Digest: config, Size: size},
		Layers:      []v1.Descriptor{*content},
		Subject:     &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: annotations,
	})
	if err != nil {
		return nil, err
	}
	return partial.CompressedToImage(artifact{manifest: manifest, layer: layer})
}

// MediaType implements partial.CompressedImageCore, as the methods below do.
func (a artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func (a artifact) RawManifest() ([]byte, error) { return a.manifest, nil }

func (a artifact) RawConfigFile() ([]byte, error) { return []byte(emptyConfig), nil }

func (a artifact) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	if own, err := a.layer.Digest(); err != nil || own != digest {
		return nil, fmt.Errorf("artifact has no layer %s", digest)
	}
	return a.layer, nil
}
