package signed

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/shared/imageref"
	"github.com/tandem-cd/tandem/shared/signature"
)

// Images returns the images of an object that must be signed, each once. The error says which of its images cannot be checked, where
// it stands, and what to do.
//
// They are looked for in the object as it is going to be written, where no alias, anchor or merge of the file is left. What a
// ConfigMap holds is text: nothing of it runs.
func (p *Policy) Images(o *unstructured.Unstructured) ([]signature.Image, error) {
	if p.Empty() || !mayRun(o) {
		return nil, nil
	}
	text, err := json.Marshal(withoutLabels(o))
	if err != nil {
		return nil, fmt.Errorf("which images it has cannot be read: %w", err)
	}
	positions, err := imageref.Find("object.json", text)
	if err != nil {
		return nil, fmt.Errorf("which images it has cannot be read, and some must be signed in this cluster: %w", err)
	}
	var images []signature.Image
	seen := map[int]bool{}
	for i := range positions {
		at := &positions[i]
		if seen[at.Group] { // another part of the same image
			continue
		}
		seen[at.Group] = true
		image, demanded, err := p.image(at)
		if err != nil {
			return nil, err
		}
		if demanded && !slices.Contains(images, image) {
			images = append(images, image)
		}
	}
	return images, nil
}

// withoutLabels is an object with nothing but its name of its metadata, where people write all sorts of text.
func withoutLabels(o *unstructured.Unstructured) map[string]any {
	rest := maps.Clone(o.Object)
	rest["metadata"] = map[string]any{"name": o.GetName()}
	return rest
}

// mayRun leaves out what has no images that run, and is sometimes large.
func mayRun(o *unstructured.Unstructured) bool {
	kind := o.GroupVersionKind()
	if kind.Group == "" && (kind.Kind == "ConfigMap" || kind.Kind == "Secret") {
		return false
	}
	return !strings.HasSuffix(kind.Group, ".k8s.io")
}

// image reads the image at a position, and tells whether it must be signed.
func (p *Policy) image(at *imageref.Position) (image signature.Image, demanded bool, err error) {
	ref := at.Image
	switch {
	case ref.Name() == "" && (at.Fixed || at.Value == ""):
		return image, false, nil // it has no repository, or only looks like an image
	case ref.Name() == "":
		return image, false, fmt.Errorf("%s: %.100q is not an image reference, so that nobody can tell whether it must be signed", at.Path, at.Value)
	}
	demands := p.Demands(ref.Name())
	switch {
	case demands == "":
		return image, false, nil
	case ref.Digest == "":
		return image, false, fmt.Errorf("%s: %.200s names no digest, and in this cluster it needs a %s: write it with @sha256:..., since a tag may point to something else tomorrow", at.Path, ref, demands)
	}
	return signature.Image{Repository: ref.Name(), Digest: ref.Digest}, true, nil
}
