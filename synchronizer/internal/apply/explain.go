package apply

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// before returns the object as it is when the step asks for an explanation. One that cannot be read is written all the same.
func (t *target) before(ctx context.Context) *unstructured.Unstructured {
	if !t.Explain {
		return nil
	}
	found, err := t.client.Get(ctx, t.Key.Name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return found
}
