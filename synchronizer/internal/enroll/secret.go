package enroll

import (
	"context"
	"encoding/base64"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tandem-cd/tandem/shared/fault"
)

// Secret is a vault in a Secret of the cluster. It is made when there is none; one that was made before, empty, is filled.
type Secret struct {
	client          dynamic.ResourceInterface
	namespace, name string
}

// NewSecret returns the vault in a Secret.
func NewSecret(client dynamic.Interface, namespace, name string) *Secret {
	secrets := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	return &Secret{client: client.Resource(secrets).Namespace(namespace), namespace: namespace, name: name}
}

// String says where it is.
func (s *Secret) String() string { return "Secret " + s.namespace + "/" + s.name }

// Load returns what is kept.
func (s *Secret) Load(ctx context.Context) (Kept, error) {
	object, err := s.client.Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Kept{}, nil
	}
	if err != nil {
		return Kept{}, fmt.Errorf("read %s: %w", s, err)
	}
	encoded, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil {
		return Kept{}, fmt.Errorf("read %s: %w", s, err)
	}
	files := map[string][]byte{}
	for name, text := range encoded {
		if files[name], err = base64.StdEncoding.DecodeString(text); err != nil {
			return Kept{}, fmt.Errorf("read %s: %s: %w", s, name, err)
		}
	}
	kept, err := decode(files)
	if err != nil {
		return Kept{}, fmt.Errorf("%s: %w", s, err)
	}
	kept.Version = object.GetResourceVersion()
	return kept, nil
}

// Save replaces what is kept. Labels and annotations of the Secret stay.
func (s *Secret) Save(ctx context.Context, kept Kept) error {
	files, err := kept.encode()
	if err != nil {
		return err
	}
	data := map[string]any{}
	for name, content := range files {
		data[name] = base64.StdEncoding.EncodeToString(content)
	}
	if kept.Version == "" {
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": map[string]any{"name": s.name}, "data": data,
		}}
		_, err = s.client.Create(ctx, object, metav1.CreateOptions{})
	} else {
		err = s.update(ctx, kept.Version, data)
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return fault.New(fault.Conflict, "%s has changed meanwhile", s)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", s, err)
	}
	return nil
}

func (s *Secret) update(ctx context.Context, version string, data map[string]any) error {
	object, err := s.client.Get(ctx, s.name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	object.SetResourceVersion(version)
	object.Object["data"] = data
	_, err = s.client.Update(ctx, object, metav1.UpdateOptions{})
	return err
}
