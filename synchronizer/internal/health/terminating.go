package health

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// heldBy says what keeps an object that is being deleted from going: its finalizers, and what a Namespace or a
// CustomResourceDefinition says of what is still in it. It returns empty when nothing does.
func heldBy(object *unstructured.Unstructured) string {
	parts := remaining(object)
	switch finalizers := object.GetFinalizers(); len(finalizers) {
	case 0:
	case 1:
		parts = append([]string{"held by the finalizer " + finalizers[0]}, parts...)
	default:
		parts = append([]string{"held by the finalizers " + strings.Join(finalizers, ", ")}, parts...)
	}
	return strings.Join(parts, "; ")
}

// remaining are the messages of conditions that say what is left in a container of other objects.
func remaining(object *unstructured.Unstructured) (messages []string) {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		kind, _ := condition["type"].(string)
		message, _ := condition["message"].(string)
		if condition["status"] == "True" && message != "" && saysWhatRemains(object.GetKind(), kind) {
			messages = append(messages, strings.TrimSuffix(message, "."))
		}
	}
	return messages
}

func saysWhatRemains(kind, condition string) bool {
	switch kind {
	case "Namespace":
		return strings.HasPrefix(condition, "Namespace") // NamespaceContentRemaining and its like
	case "CustomResourceDefinition":
		return condition == "Terminating"
	}
	return false
}
