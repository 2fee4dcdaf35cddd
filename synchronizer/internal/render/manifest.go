package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// manifest is the content of one object with a way to find its lines.
type manifest struct {
	content map[string]any
	lineOf  func(fields ...string) int
}

// add checks what every object must have and keeps it.
func (f *file) add(content map[string]any, line int, lineOf func(fields ...string) int) {
	m := manifest{content: content, lineOf: lineOf}
	desired, err := m.desired()
	if err != nil {
		f.fail(err)
		return
	}
	if len(f.objects) >= MaxObjects {
		return // Tree refuses the whole
	}
	desired.Origin = object.Origin{File: f.name, Line: line}
	desired.index = len(f.objects)
	f.objects = append(f.objects, desired)
}

func (m manifest) desired() (Desired, error) {
	gvk, err := m.gvk()
	if err != nil {
		return Desired{}, err
	}
	if err := m.supported(gvk); err != nil {
		return Desired{}, err
	}
	meta, ok := m.content["metadata"].(map[string]any)
	if !ok {
		return Desired{}, m.wrong("%s has no metadata; give it metadata.name", []string{"metadata"}, gvk.Kind)
	}
	key := object.Key{Group: gvk.Group, Kind: gvk.Kind}
	if key.Name, err = m.segment(meta, "name"); err != nil {
		return Desired{}, err
	}
	if key.Name == "" {
		return Desired{}, m.wrong("%s has no metadata.name; a generated name could never be found again", []string{"metadata"}, gvk.Kind)
	}
	if key.Namespace, err = m.segment(meta, "namespace"); err != nil {
		return Desired{}, err
	}
	for _, field := range []string{"labels", "annotations"} {
		if err := m.texts(meta, field); err != nil {
			return Desired{}, err
		}
	}
	policy, err := m.policy(gvk, meta)
	if err != nil {
		return Desired{}, err
	}
	dropServerFields(meta)
	sum, size, err := hash(m.content)
	scaledName, _, _ := unstructured.NestedString(m.content, "spec", "scaleTargetRef", "name")
	return Desired{
		Key: key, GVK: gvk, Hash: sum, Bytes: size,
		Object:  &unstructured.Unstructured{Object: m.content},
		Defines: definition(gvk, m.content),
		Policy:  policy,
		scales:  scales(gvk, m.content), scaledName: scaledName,
	}, err
}

func (m manifest) wrong(format string, fields []string, args ...any) error {
	return lineError{line: m.lineOf(fields...), message: fmt.Sprintf(format, args...)}
}

func (m manifest) gvk() (schema.GroupVersionKind, error) {
	version, _ := m.content["apiVersion"].(string)
	kind, _ := m.content["kind"].(string)
	if version == "" || kind == "" {
		return schema.GroupVersionKind{}, m.wrong(
			"is no Kubernetes object: apiVersion and kind must both be set; move other files out of the rendered path", nil)
	}
	gv, err := schema.ParseGroupVersion(version)
	if err != nil || strings.ContainsAny(kind, "/. ") {
		return schema.GroupVersionKind{}, m.wrong("apiVersion %q and kind %q name no kind", []string{"apiVersion"}, version, kind)
	}
	return gv.WithKind(kind), nil
}

// supported refuses what looks like an object and would be applied wrongly.
func (m manifest) supported(gvk schema.GroupVersionKind) error {
	if gvk.Group == "kustomize.config.k8s.io" {
		return m.wrong("is a kustomization, and this version renders plain manifests only; "+
			"commit the output of `kustomize build`", nil)
	}
	if _, sealed := m.content["sops"].(map[string]any); sealed {
		return m.wrong("is encrypted with SOPS, which this version does not decrypt; "+
			"use a SealedSecret or an ExternalSecret", []string{"sops"})
	}
	return nil
}

// segment is a field that becomes part of a URL; empty when it is not set.
func (m manifest) segment(meta map[string]any, field string) (string, error) {
	v, set := meta[field]
	if !set || v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", m.wrong("metadata.%s is not text; quote it", []string{"metadata", field}, field)
	}
	if problems := content.IsPathSegmentName(s); len(problems) > 0 {
		return "", m.wrong("metadata.%s %q is no name: it %s", []string{"metadata", field}, field, s, problems[0])
	}
	return s, nil
}

// texts checks labels or annotations: one value that is not text would make the API server drop or refuse them all.
func (m manifest) texts(meta map[string]any, field string) error {
	v, set := meta[field]
	if !set || v == nil {
		delete(meta, field)
		return nil
	}
	values, ok := v.(map[string]any)
	if !ok {
		return m.wrong("metadata.%s is no mapping", []string{"metadata", field}, field)
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if _, ok := values[key].(string); !ok {
			return m.wrong("the value of metadata.%s[%q] is not text; quote it", []string{"metadata", field, key}, field, key)
		}
	}
	return nil
}

// dropServerFields removes what `kubectl get -o yaml` prints and only the API server may set.
func dropServerFields(meta map[string]any) {
	for _, field := range []string{"creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields", "resourceVersion", "selfLink", "uid"} {
		delete(meta, field)
	}
}

// definition reads a CustomResourceDefinition; nil for every other kind, and for one that the API server will refuse.
func definition(gvk schema.GroupVersionKind, content map[string]any) *Definition {
	if gvk.Group != "apiextensions.k8s.io" || gvk.Kind != "CustomResourceDefinition" {
		return nil
	}
	group, _, _ := unstructured.NestedString(content, "spec", "group")
	kind, _, _ := unstructured.NestedString(content, "spec", "names", "kind")
	scope, _, _ := unstructured.NestedString(content, "spec", "scope")
	if group == "" || kind == "" {
		return nil
	}
	return &Definition{GroupKind: schema.GroupKind{Group: group, Kind: kind}, Namespaced: scope == "Namespaced"}
}
