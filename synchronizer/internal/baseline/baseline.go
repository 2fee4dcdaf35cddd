package baseline

import (
	"crypto/sha256"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Digest is the hash of a manager's path set and the values there.
type Digest [sha256.Size]byte

// Of returns the digest of what manager has applied to obj, and false when it
// has applied nothing. obj is only read.
func Of(obj *unstructured.Unstructured, manager string) (Digest, bool) {
	ours, others := entries(obj, manager)
	if ours == nil {
		return Digest{}, false
	}
	d := digesters.Get().(*digester) //nolint:forcetypeassert // the pool holds nothing else
	defer d.release()
	d.others = append(d.others, others...)
	d.set(ours, obj.Object, span{0, len(d.others)})
	return d.sum(), true
}

// Version returns the API version in which manager has applied to obj: that of
// the paths. Read in another version, the same object has another digest.
func Version(obj *unstructured.Unstructured, manager string) string {
	for entry := range managed(obj) {
		if applied(entry, manager) {
			version, _ := entry["apiVersion"].(string)
			return version
		}
	}
	return ""
}

// Writers names the field managers other than manager that own something in
// obj, the most recent first. Writers of subresources do not count: nobody
// applies those.
func Writers(obj *unstructured.Unstructured, manager string) []string {
	var (
		names []string
		times []string
	)
	for entry := range managed(obj) {
		name, _ := entry["manager"].(string)
		if name == manager || entry["subresource"] != nil {
			continue
		}
		at, _ := entry["time"].(string) // RFC 3339 in UTC, so that text order is the order in time
		i := 0
		for i < len(times) && times[i] >= at {
			i++
		}
		names = append(names[:i], append([]string{name}, names[i:]...)...)
		times = append(times[:i], append([]string{at}, times[i:]...)...)
	}
	return names
}

// entries returns the path set that manager has applied, and everybody else's.
func entries(obj *unstructured.Unstructured, manager string) (ours map[string]any, others []map[string]any) {
	for entry := range managed(obj) {
		fields, _ := entry["fieldsV1"].(map[string]any)
		if applied(entry, manager) {
			ours = fields
			continue
		}
		others = append(others, fields)
	}
	return ours, others
}

// applied reports whether an entry is what manager has applied.
func applied(entry map[string]any, manager string) bool {
	return entry["manager"] == manager && entry["operation"] == string(metav1.ManagedFieldsOperationApply) && entry["subresource"] == nil
}

// managed yields the entries of metadata.managedFields without copying them.
func managed(obj *unstructured.Unstructured) func(yield func(map[string]any) bool) {
	metadata, _ := obj.Object["metadata"].(map[string]any)
	list, _ := metadata["managedFields"].([]any)
	return func(yield func(map[string]any) bool) {
		for _, item := range list {
			if entry, ok := item.(map[string]any); ok && !yield(entry) {
				return
			}
		}
	}
}
