package imageref

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// kind is an apiVersion without its version, and a kind.
type kind struct{ group, name string }

// podSpec returns the fields that lead to the PodSpec of a built-in kind.
func (k kind) podSpec() []string {
	switch k {
	case kind{"", "Pod"}:
		return []string{"spec"}
	case kind{"", "PodTemplate"}:
		return []string{"template", "spec"}
	case kind{"", "ReplicationController"},
		kind{"apps", "ReplicaSet"}, kind{"apps", "Deployment"}, kind{"apps", "StatefulSet"}, kind{"apps", "DaemonSet"},
		kind{"batch", "Job"}:
		return []string{"spec", "template", "spec"}
	case kind{"batch", "CronJob"}:
		return []string{"spec", "jobTemplate", "spec", "template", "spec"}
	}
	return nil
}

// element returns the kind that the items of a list have if they do not say: none
// for a List, Pod for a PodList.
func (k kind) element() (kind, bool) {
	if k == (kind{"", "List"}) {
		return kind{}, true
	}
	item := kind{k.group, strings.TrimSuffix(k.name, "List")}
	return item, item != k && item.podSpec() != nil
}

// object looks for images in a manifest. implied is the kind of a list's items.
func (f *finder) object(p place, implied kind) {
	if p.node.Kind == yaml.SequenceNode { // of JSON patches, for one
		p.fixed = true
		f.free(p, "")
	}
	if p.node.Kind != yaml.MappingNode {
		return
	}
	k := kindOf(p.node, implied)
	if item, isList := k.element(); isList {
		if items, ok := f.field(p, "items", true); ok {
			for _, object := range f.items(items) {
				f.object(object, item)
			}
		}
		return
	}
	fields := k.podSpec()
	if fields == nil {
		f.otherKind(p, k)
		return
	}
	p.object, p.fields = k.name+"/"+objectName(p.node), ""
	for _, name := range fields {
		next, ok := f.field(p, name, true)
		if !ok {
			return
		}
		p = next
	}
	f.podSpec(p)
}

// otherKind looks for images in what has no PodSpec that Kubernetes knows.
func (f *finder) otherKind(p place, k kind) {
	p.fixed = true
	switch {
	case f.isKustomization(k):
		f.kustomization(p)
	case k == kind{}:
		if lookup(p.node, "apiVersion") == nil {
			f.free(p, "")
		}
	case k == kind{"", "ConfigMap"}:
		p.object = k.name + "/" + objectName(p.node)
		f.configMap(p)
	case k.isCustom():
		p.object = k.name + "/" + objectName(p.node)
		for i := 0; i+1 < len(p.node.Content); i += 2 {
			if name := p.node.Content[i]; name.Kind == yaml.ScalarNode && !isObjectKey(name.Value) {
				f.freeValue(f.enter(p, p.node.Content[i+1], quotePlain(name.Value)), name.Value, false)
			}
		}
	}
}

// configMap looks into the files that a ConfigMap holds, such as Helm values.
func (f *finder) configMap(p place) {
	data, ok := f.field(p, "data", false)
	if !ok || data.node.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(data.node.Content); i += 2 {
		name, value := data.node.Content[i], data.node.Content[i+1]
		if isYAML(name.Value) && isText(value) {
			f.nestedIn(f.enter(data, value, data.fields+"."+quotePlain(name.Value)))
		}
	}
}

// isCustom tells kinds that are not built into Kubernetes, and not ours.
func (k kind) isCustom() bool {
	return k.name != "" && strings.Contains(k.group, ".") && !BuiltIn(k.group) && k.group != "tandem.dev"
}

// BuiltIn tells the groups with a dot that the API server itself serves, none of which has images. Others end in k8s.io too, and may.
func BuiltIn(group string) bool {
	switch strings.TrimSuffix(group, ".k8s.io") {
	case "admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization", "certificates", "coordination",
		"discovery", "events", "flowcontrol.apiserver", "internal.apiserver", "networking", "node", "rbac.authorization", "resource",
		"scheduling", "storage", "storagemigration":
		return strings.HasSuffix(group, ".k8s.io")
	}
	return false
}

// isObjectKey tells the fields that every object has.
func isObjectKey(name string) bool {
	return name == "apiVersion" || name == "kind" || name == "metadata" || name == "status"
}

// podSpec notes the images of a PodSpec.
func (f *finder) podSpec(spec place) {
	for _, list := range []string{"initContainers", "containers", "ephemeralContainers"} {
		containers, ok := f.field(spec, list, list == "containers")
		if !ok {
			continue
		}
		for _, container := range f.items(containers) {
			if image, ok := f.field(container, "image", true); ok {
				f.image(image)
			}
		}
	}
	volumes, ok := f.field(spec, "volumes", false)
	if !ok {
		return
	}
	for _, volume := range f.items(volumes) {
		image, ok := f.field(volume, "image", false)
		if !ok {
			continue
		}
		if reference, ok := f.field(image, "reference", true); ok {
			f.image(reference)
		}
	}
}

func kindOf(object *yaml.Node, implied kind) kind {
	name, version := text(object, "kind"), text(object, "apiVersion")
	if name == "" && version == "" {
		return implied
	}
	group, _, found := strings.Cut(version, "/")
	if !found {
		group = ""
	}
	if group == "extensions" { // where Deployments began; some old files still say so
		group = "apps"
	}
	return kind{group, name}
}

func objectName(object *yaml.Node) string {
	metadata := lookup(object, "metadata")
	if metadata == nil {
		return "*"
	}
	if name := text(resolved(metadata), "name"); name != "" {
		return quotePlain(name)
	}
	return quotePlain(text(resolved(metadata), "generateName")) + "*"
}

// text returns a scalar field of a mapping, "" if it is not there.
func text(mapping *yaml.Node, name string) string {
	if mapping.Kind != yaml.MappingNode {
		return ""
	}
	if value := lookup(mapping, name); value != nil {
		return resolved(value).Value
	}
	return ""
}

// lookup returns the value of a key that the mapping itself has, or nil.
func lookup(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if key := resolved(mapping.Content[i]); key.Kind == yaml.ScalarNode && key.Value == name && key.ShortTag() == "!!str" {
			return mapping.Content[i+1]
		}
	}
	return nil
}
