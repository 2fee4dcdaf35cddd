package env

import (
	"fmt"

	"k8s.io/client-go/dynamic"
)

// Handle is the administrator's way to one object.
type Handle struct {
	dynamic.ResourceInterface

	Kind, Namespace, Name string
}

// String is "Kind/namespace/name".
func (h Handle) String() string { return h.Kind + "/" + h.Namespace + "/" + h.Name }

// Handles returns a handle for each object of a manifest, in its order; whether
// the objects exist is not asked. Objects without a namespace are looked for in
// the given one. Their kinds must be served.
func (g *Ground) Handles(namespace, manifest string) ([]Handle, error) {
	objects, err := decode(manifest)
	if err != nil {
		return nil, err
	}
	handles := make([]Handle, 0, len(objects))
	for _, object := range objects {
		client, err := g.resource(object.GroupVersionKind(), namespace, object)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		handles = append(handles, Handle{
			ResourceInterface: client, Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName(),
		})
	}
	return handles, nil
}
