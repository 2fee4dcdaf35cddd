package signed

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/shared/imageref"
	"github.com/tandem-cd/tandem/shared/signature"
)

// Images returns the images of an object that must be signed, each once. The error says which of its images cannot be checked, where
// it stands, and what to do.
//
// They are looked for in the object as it is going to be written, where no alias, anchor or merge of the file is left. What a
// ConfigMap holds is text: nothing of it runs. It is read as YAML, in which a text of several lines, such as a patch or Helm
// values, is one that can be looked into.
func (p *Policy) Images(o *unstructured.Unstructured) ([]signature.Image, error) {
	if p.Empty() || !mayRun(o) {
		return nil, nil
	}
	rest := withoutLabels(o)
	text, err := yaml.Marshal(rest)
	if err != nil {
		return nil, fmt.Errorf("which images it has cannot be read: %w", err)
	}
	positions, err := imageref.Find("object.yaml", text)
	if err != nil {
		return nil, fmt.Errorf("which images it has cannot be read, and some must be signed in this cluster: %w", err)
	}
	more := custom{policy: p}
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
		if demanded && !slices.Contains(more.images, image) {
			more.images = append(more.images, image)
		}
	}
	if strings.Contains(o.GroupVersionKind().Group, ".") {
		if err := more.fields(o.GetKind()+"/"+o.GetName(), rest, false); err != nil {
			return nil, err
		}
	}
	return more.images, nil
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
	return !imageref.BuiltIn(kind.Group)
}

// image reads the image at a position, and tells whether it must be signed.
func (p *Policy) image(at *imageref.Position) (image signature.Image, demanded bool, err error) {
	ref := at.Image
	switch {
	case at.Unread:
		return image, false, fmt.Errorf("%s: a text that may name images and cannot be read; write it as YAML of several lines", at.Path)
	case ref.Name() == "" && (at.Fixed || at.Value == ""):
		return image, false, nil // it has no repository, or only looks like an image
	case ref.Name() == "":
		return image, false, fmt.Errorf("%s: %.100q is not an image reference, so that nobody can tell whether it must be signed", at.Path, at.Value)
	}
	return p.demand(at.Path, ref)
}

// demand tells whether an image must be signed, and what it is then.
func (p *Policy) demand(path string, ref imageref.Reference) (image signature.Image, demanded bool, err error) {
	demands := p.Demands(ref.Name())
	switch {
	case demands == "":
		return image, false, nil
	case ref.Digest == "":
		return image, false, fmt.Errorf("%s: %.200s names no digest, and in this cluster it needs a %s: write it with @sha256:..., since a tag may point to something else tomorrow", path, ref, demands)
	}
	return signature.Image{Repository: ref.Name(), Digest: ref.Digest}, true, nil
}
