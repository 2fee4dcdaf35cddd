package images

import (
	"maps"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tandem-cd/tandem/integration/images/layer"
)

// Platform is an image for one platform.
type Platform struct {
	Platform v1.Platform
	Image    v1.Image
	// SBOM is the artifact that refers to Image.
	SBOM v1.Image
}

// labels are those of https://specs.opencontainers.org/image-spec/annotations.
func labels(spec Spec, stamp Stamp) map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title":       spec.Name,
		prefix + "description": spec.Description,
		prefix + "version":     stamp.Version,
		prefix + "revision":    stamp.Revision,
		prefix + "created":     stamp.Created.Format(time.RFC3339),
		prefix + "source":      projectURL,
		prefix + "url":         projectURL,
		prefix + "licenses":    license,
		prefix + "vendor":      "Tandem",
	}
}

func assemble(spec Spec, stamp Stamp, platform v1.Platform, trees []*layer.Tree, sbom []byte) (Platform, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for i, tree := range trees {
		packed, err := tree.Layer(stamp.Created)
		if err != nil {
			return Platform{}, err
		}
		what := "tandem: programs of " + spec.Name
		if i < len(trees)-1 {
			what = "debian: pinned packages"
		}
		history := v1.History{Created: v1.Time{Time: stamp.Created}, CreatedBy: what}
		if image, err = mutate.Append(image, mutate.Addendum{Layer: plain{packed}, History: history, MediaType: types.OCILayer}); err != nil {
			return Platform{}, err
		}
	}
	configured, err := configure(image, spec, stamp, platform)
	if err != nil {
		return Platform{}, err
	}
	annotated, _ := mutate.Annotations(configured, labels(spec, stamp)).(v1.Image) // it returns what it was given
	artifact, err := attach(annotated, sbom, map[string]string{"org.opencontainers.image.created": stamp.Created.Format(time.RFC3339)})
	return Platform{Platform: platform, Image: annotated, SBOM: artifact}, err
}

// plain hides the descriptor of a layer, which has an empty map of annotations where a manifest that is read has none: a
// validation takes them for two.
type plain struct{ v1.Layer }

func configure(image v1.Image, spec Spec, stamp Stamp, platform v1.Platform) (v1.Image, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = platform.OS, platform.Architecture, v1.Time{Time: stamp.Created}
	config.Author = ""
	user := strconv.Itoa(UserID)
	config.Config = v1.Config{
		User: user + ":" + user, WorkingDir: "/", Entrypoint: []string{"/" + programFolder + spec.Name},
		Env:    []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/" + homeFolder},
		Labels: labels(spec, stamp),
	}
	return mutate.ConfigFile(image, config)
}

// index joins the platforms under one digest.
func (b *Built) index() error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, one := range b.Platforms {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: one.Image, Descriptor: v1.Descriptor{Platform: &one.Platform}})
	}
	annotations := maps.Clone(labels(b.Spec, b.Stamp))
	b.Index, _ = mutate.Annotations(index, annotations).(v1.ImageIndex) // it returns what it was given
	var err error
	b.Digest, err = b.Index.Digest()
	return err
}
