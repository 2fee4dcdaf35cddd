package registry

import (
	"context"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tandem-cd/tandem/shared/fault"
)

const (
	// maxPlatforms bounds the platforms that are kept of one image.
	maxPlatforms = 64
	// createdAnnotation is where an index says when it was made.
	createdAnnotation = "org.opencontainers.image.created"
	// lastFakeYear is that of the times which reproducible builds write instead of the real one.
	lastFakeYear = 1980
)

// Image is what an image says of itself.
type Image struct {
	// Digest is what the tag pointed to: the index, if there is one.
	Digest string
	// Created is when it was made; zero if it does not say.
	Created time.Time
	// Platforms are those that it is there for, such as "linux/arm64/v8", sorted.
	Platforms []string
}

// Inspect looks at the image that a tag points to now: its index, its manifest and its configuration. That is two or three
// requests, of which registries count the first as a pull.
func (c *Client) Inspect(ctx context.Context, repository, tag string) (Image, error) {
	if !tagPattern.MatchString(tag) {
		return Image{}, fault.New(fault.Invalid, "inspect %s: %.130q is not a tag", repository, tag)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeouts.Digest.Or(defaultDigestTimeout), errDigestTimeout)
	defer cancel()
	var image Image
	err := c.each(ctx, repository, func(ctx context.Context, p place) error {
		err := p.ask(ctx, func(puller *remote.Puller) error {
			got, err := puller.Get(ctx, p.repository.Tag(tag))
			if err != nil {
				return err
			}
			image, err = read(got)
			return err
		})
		return p.explain(ctx, subject{repository: p.repository, tag: tag}, err)
	})
	if err != nil {
		return Image{}, err
	}
	return image, nil
}

// read takes what it needs from an image or an index.
func read(got *remote.Descriptor) (Image, error) {
	image := Image{Digest: got.Digest.String()}
	if !got.MediaType.IsIndex() {
		single, err := got.Image()
		if err != nil {
			return image, err
		}
		return image, image.add(single, true)
	}
	index, err := got.ImageIndex()
	if err != nil {
		return image, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return image, err
	}
	var first *v1.Descriptor
	for i := range manifest.Manifests {
		one := &manifest.Manifests[i]
		if one.Platform == nil || one.Platform.OS == "unknown" || !one.MediaType.IsImage() {
			continue // an attestation, or an artifact
		}
		image.platform(one.Platform)
		if first == nil || platformText(one.Platform) == "linux/amd64" {
			first = one
		}
	}
	image.created(manifest.Annotations[createdAnnotation])
	if first == nil || !image.Created.IsZero() {
		return image, nil
	}
	single, err := index.Image(first.Digest)
	if err != nil {
		return image, err
	}
	return image, image.add(single, false)
}

// add takes the time from a configuration, and the platform where no index says it.
func (i *Image) add(single v1.Image, platform bool) error {
	config, err := single.ConfigFile()
	if err != nil {
		return err
	}
	if config.Created.Year() > lastFakeYear {
		i.Created = config.Created.UTC()
	}
	if platform && config.OS != "" {
		i.platform(&v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant})
	}
	return nil
}

func (i *Image) created(text string) {
	if at, err := time.Parse(time.RFC3339, text); err == nil && at.Year() > lastFakeYear {
		i.Created = at.UTC()
	}
}

func (i *Image) platform(p *v1.Platform) {
	text := platformText(p)
	at, found := slices.BinarySearch(i.Platforms, text)
	if !found && len(i.Platforms) < maxPlatforms {
		i.Platforms = slices.Insert(i.Platforms, at, text)
	}
}

func platformText(p *v1.Platform) string {
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	const longest = 64
	return text[:min(len(text), longest)]
}
