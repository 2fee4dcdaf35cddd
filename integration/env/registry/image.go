package registry

import (
	"cmp"
	"math/rand" //nolint:depguard // what ggcr takes as a source
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// layerSize keeps a push to a few kilobytes.
	layerSize = 256

	defaultPlatform = "linux/amd64"
)

// Image describes what Push makes: an OCI image of one tiny random layer.
type Image struct {
	Labels map[string]string
	// Created goes into the configuration; the zero time says nothing.
	Created time.Time
	// Platforms, such as linux/arm64, makes an index of one image each. Without
	// it there is one linux/amd64 image and no index.
	Platforms []string
	// Seed makes the same image, and so the same digest, again; 0 makes a new
	// one each time.
	Seed int64
}

// content is an image or an index.
type content struct {
	image v1.Image
	index v1.ImageIndex
}

func (i Image) build() (content, error) {
	source := rand.NewSource(cmp.Or(i.Seed, rand.Int63()))
	if len(i.Platforms) == 0 {
		image, err := i.platform(source, defaultPlatform)
		return content{image: image}, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range i.Platforms {
		image, err := i.platform(source, platform)
		if err != nil {
			return content{}, err
		}
		parsed, err := v1.ParsePlatform(platform)
		if err != nil {
			return content{}, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: parsed}})
	}
	return content{index: index}, nil
}

func (i Image) platform(source rand.Source, platform string) (v1.Image, error) {
	parsed, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	layer, err := random.Layer(layerSize, types.OCILayer, random.WithSource(source))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = parsed.OS, parsed.Architecture, parsed.Variant
	config.Created = v1.Time{Time: i.Created}
	config.Config.Labels = i.Labels
	return mutate.ConfigFile(image, config)
}

// Digest is of what the tag will point at.
func (c content) Digest() (v1.Hash, error) {
	if c.index != nil {
		return c.index.Digest()
	}
	return c.image.Digest()
}

func (c content) write(ref name.Reference, options ...remote.Option) error {
	if c.index != nil {
		return remote.WriteIndex(ref, c.index, options...)
	}
	return remote.Write(ref, c.image, options...)
}
