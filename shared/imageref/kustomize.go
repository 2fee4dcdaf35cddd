package imageref

import (
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

const kustomizeGroup = "kustomize.config.k8s.io"

// isKustomization tells a Kustomization or a Component, which may leave out its
// kind in a file of the right name.
func (f *finder) isKustomization(k kind) bool {
	if k.group == kustomizeGroup {
		return k.name == "Kustomization" || k.name == "Component"
	}
	base := path.Base(f.name)
	return k == kind{} && (base == "kustomization.yaml" || base == "kustomization.yml")
}

// kustomization notes the entries of images, and what patches and inline values
// have.
func (f *finder) kustomization(p place) {
	p.object = "Kustomization"
	for _, name := range []string{"patches", "patchesJson6902", "patchesStrategicMerge", "helmCharts"} {
		if list, ok := f.field(p, name, false); ok {
			f.free(list, name)
		}
	}
	images, ok := f.field(p, "images", true)
	if !ok {
		return
	}
	for _, entry := range f.items(images) {
		if entry.node.Kind == yaml.MappingNode {
			f.kustomizeImage(entry)
		}
	}
}

func (f *finder) kustomizeImage(entry place) {
	name := lookup(entry.node, "newName")
	if name == nil {
		name = lookup(entry.node, "name")
	}
	ref, err := Parse(textOf(name))
	if err != nil || ref.Tag != "" || ref.Digest != "" {
		return
	}
	g := group{place: entry, image: ref, name: name, tag: lookup(entry.node, "newTag"), digest: lookup(entry.node, "digest")}
	if g.tag == nil && g.digest == nil {
		at := f.enter(entry, name, strings.TrimPrefix(entry.fields+"."+f.keyOf(entry.node, name), "."))
		f.lock(at, "it has no newTag; add one to have it edited")
		return
	}
	f.group(g)
}
