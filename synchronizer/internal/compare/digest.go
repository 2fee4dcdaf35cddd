package compare

import (
	"crypto/sha256"
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// Digest is over everything of an object that what we would do about it depends on: what is compared, whose it is, who manages
// which fields, and whether it is on its way out. It stays the same while only status and times change.
func Digest(object *unstructured.Unstructured) (digest [sha256.Size]byte) {
	hash := sha256.New()
	_ = json.NewEncoder(hash).Encode([]any{ //nolint:errchkjson // a decoder of JSON makes nothing that cannot be encoded
		Normal(object.Object), object.GetLabels()[v1alpha1.LabelSync], object.GetAnnotations()[v1alpha1.AnnotationOwner],
		object.GetUID(), object.GetDeletionTimestamp() != nil, managers(object),
	})
	hash.Sum(digest[:0])
	return digest
}

// managers are who manages which fields. When they did is left out, and who manages status.
func managers(object *unstructured.Unstructured) []any {
	metadata, _ := object.Object["metadata"].(map[string]any)
	list, _ := metadata["managedFields"].([]any)
	out := make([]any, 0, len(list))
	for _, item := range list {
		entry, _ := item.(map[string]any)
		if entry["subresource"] == nil {
			out = append(out, []any{entry["manager"], entry["operation"], entry["fieldsV1"]})
		}
	}
	return out
}
