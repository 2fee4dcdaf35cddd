package apply

import (
	"encoding/json"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// neverExisted is a resource version that no object has: etcd's first write is
// revision 2.
const neverExisted = "1"

// precondition is which state of an object a write is meant for. The zero value
// is any.
type precondition struct {
	uid     types.UID
	version string
}

// body is what is sent for a desired object, which is only read. What the API
// server sets itself is left out: people commit what kubectl get prints.
func body(desired *unstructured.Unstructured, key object.Key, label string, only precondition) ([]byte, error) {
	fields := maps.Clone(desired.Object)
	old, _ := fields["metadata"].(map[string]any)
	metadata := maps.Clone(old)
	if metadata == nil {
		return nil, fmt.Errorf("%s has no metadata", key)
	}
	for _, set := range []string{"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"} {
		delete(metadata, set)
	}
	metadata["labels"] = with(metadata["labels"], v1alpha1.LabelSync, label)
	metadata["annotations"] = with(metadata["annotations"], v1alpha1.AnnotationOwner, key.ID())
	metadata["name"] = key.Name   // of a hook, which has another for each content
	delete(metadata, "namespace") // one that is written on a cluster-scoped object is a mistake without effect
	if key.Namespace != "" {
		metadata["namespace"] = key.Namespace
	}
	if only.uid != "" {
		metadata["uid"] = only.uid
	}
	if only.version != "" {
		metadata["resourceVersion"] = only.version
	}
	fields["metadata"] = metadata
	return json.Marshal(fields)
}

// with returns a copy of a map of texts with one more.
func with(texts any, key, value string) map[string]any {
	old, _ := texts.(map[string]any)
	all := make(map[string]any, len(old)+1)
	maps.Copy(all, old)
	all[key] = value
	return all
}
