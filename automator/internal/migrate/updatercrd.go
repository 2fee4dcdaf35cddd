package migrate

import (
	"path"
	"strings"
)

// imageUpdater reads an ImageUpdater, which names Applications by patterns.
func (c *collector) imageUpdater(o object, applications []object) {
	common := o.at("spec", "commonUpdateSettings")
	for _, ref := range o.at("spec", "applicationRefs").items() {
		found := false
		for _, a := range applications {
			if !matches(ref, a) {
				continue
			}
			found = true
			if ref.at("useAnnotations").text() == "true" {
				continue // read as they are
			}
			c.application(named(o, ref, common, a))
		}
		if !found {
			c.note(ref, "ImageUpdater "+o.name, "no Application in these files is called %q", ref.at("namePattern").text())
		}
	}
	if verification := o.at("spec", "imagesVerification"); verification.exists() {
		c.note(verification, "spec.imagesVerification", "signatures of images are not checked yet")
	}
}

func matches(ref value, a object) bool {
	ok, err := path.Match(ref.at("namePattern").text(), a.name)
	return err == nil && ok && selects(ref.at("labelSelectors"), a)
}

// named reads the images that an ImageUpdater has for an Application. Settings are
// those of the image, of the reference, or of all.
func named(o object, ref, common value, a object) target {
	back := func(fields ...string) value {
		if at := ref.at(append([]string{"writeBackConfig"}, fields...)...); at.exists() {
			return at
		}
		return o.at(append([]string{"spec", "writeBackConfig"}, fields...)...)
	}
	t := target{
		object: a, method: back("method"), place: back("gitConfig", "writeBackTarget"),
		branch: back("gitConfig", "branch"), repository: back("gitConfig", "repository"),
	}
	for _, image := range ref.at("images").items() {
		t.images = append(t.images, wanted{
			at: image.at("imageName"), text: image.at("imageName").text(), alias: image.at("alias").text(),
			settings: func(name string) value {
				if field, isTarget := manifestTarget(name); isTarget {
					return image.at("manifestTargets").at(field...)
				}
				for _, settings := range []value{image, ref} {
					if at := settings.at("commonUpdateSettings", camel(name)); at.exists() {
						return at
					}
				}
				return common.at(camel(name))
			},
		})
	}
	return t
}

// manifestTarget is where an ImageUpdater has what annotations call by other names.
func manifestTarget(name string) ([]string, bool) {
	switch name {
	case "helm.image-name":
		return []string{"helm", "name"}, true
	case "helm.image-tag":
		return []string{"helm", "tag"}, true
	case "helm.image-spec":
		return []string{"helm", "spec"}, true
	case "kustomize.image-name":
		return []string{"kustomize", "name"}, true
	}
	return nil, false
}

// camel turns update-strategy into updateStrategy.
func camel(name string) string {
	words := strings.Split(name, "-")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}
