package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

const (
	// cleanTimeout bounds the removal of what was made in an attached cluster.
	cleanTimeout = 30 * time.Second
	// decodeBuffer is how much of a manifest is looked at to tell YAML from JSON.
	decodeBuffer = 4096
	// kubectlManager is who a user's kubectl apply --server-side writes as.
	kubectlManager = "kubectl"
)

var errNotEstablished = errors.New("definition is not served")

// Apply does what kubectl apply --server-side does with a manifest, as the
// administrator. Objects without a namespace go into the given one. It returns
// when definitions among them are served.
func (g *Ground) Apply(ctx context.Context, namespace, manifest string) error {
	objects, err := decode(manifest)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := g.applyOne(ctx, namespace, object); err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

func (g *Ground) applyOne(ctx context.Context, namespace string, object *unstructured.Unstructured) error {
	target, err := g.resource(object.GroupVersionKind(), namespace, object)
	if err != nil {
		return err
	}
	content, err := object.MarshalJSON()
	if err != nil {
		return err
	}
	applied, err := patch(ctx, target, object.GetName(), content)
	if err != nil || object.GetKind() != "CustomResourceDefinition" {
		return err
	}
	if err := established(ctx, target, applied); err != nil {
		return err
	}
	return g.served(ctx, applied)
}

// patch applies. It waits for an API server that another test of the same control plane is restarting.
func patch(ctx context.Context, target dynamic.ResourceInterface, name string, content []byte) (applied *unstructured.Unstructured, err error) {
	force := true
	options := metav1.PatchOptions{FieldManager: kubectlManager, Force: &force, FieldValidation: metav1.FieldValidationStrict}
	_ = wait.PollUntilContextTimeout(ctx, servedEvery, restartedWithin, true, func(ctx context.Context) (bool, error) {
		applied, err = target.Patch(ctx, name, types.ApplyPatchType, content, options)
		return !utilnet.IsConnectionRefused(err) && !utilnet.IsConnectionReset(err), nil
	})
	return applied, err
}

const (
	// restartedWithin bounds the restart of an API server.
	restartedWithin = 20 * time.Second
	// servedWithin and servedEvery bound the wait for discovery, which follows a definition with a delay and cannot be
	// watched.
	servedWithin = 10 * time.Second
	servedEvery  = 50 * time.Millisecond
)

// served waits until discovery knows the kind of a definition.
func (g *Ground) served(ctx context.Context, crd *unstructured.Unstructured) error {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	version, _ := versions[0].(map[string]any)["name"].(string)
	ctx, cancel := context.WithTimeout(ctx, servedWithin)
	defer cancel()
	ticker := time.NewTicker(servedEvery)
	defer ticker.Stop()
	for {
		g.mapper.reset()
		_, err := g.mapper.mapping(schema.GroupVersionKind{Group: group, Version: version, Kind: kind})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errNotEstablished, err)
		case <-ticker.C:
		}
	}
}

// resource is the client for an object's kind where the object belongs.
func (g *Ground) resource(kind schema.GroupVersionKind, namespace string, object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	mapping, err := g.mapper.mapping(kind)
	if err != nil {
		return nil, err
	}
	client := g.Dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return client, nil
	}
	if object.GetNamespace() == "" {
		object.SetNamespace(namespace)
	}
	return client.Namespace(object.GetNamespace()), nil
}

// established waits for a definition, by a watch.
func established(ctx context.Context, target dynamic.ResourceInterface, crd *unstructured.Unstructured) error {
	watch, err := target.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + crd.GetName()})
	if err != nil {
		return err
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		object, ok := event.Object.(*unstructured.Unstructured)
		if ok && conditionIsTrue(object, "Established") {
			return nil
		}
	}
	return errors.Join(errNotEstablished, ctx.Err())
}

func conditionIsTrue(object *unstructured.Unstructured, kind string) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		fields, _ := condition.(map[string]any)
		if fields["type"] == kind {
			return fields["status"] == "True"
		}
	}
	return false
}

// decode reads the objects of a manifest.
func decode(manifest string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), decodeBuffer)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decode manifest: %w", err)
		}
		if len(object.Object) > 0 { // a document of comments alone has nothing
			objects = append(objects, object)
		}
	}
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// mapper finds the resources of kinds, and asks anew for kinds that it does not
// know.
type mapper struct {
	mu     sync.Mutex
	cached discovery.CachedDiscoveryInterface
	rest   *restmapper.DeferredDiscoveryRESTMapper
}

func newMapper(client discovery.DiscoveryInterface) *mapper {
	cached := memory.NewMemCacheClient(client)
	return &mapper{cached: cached, rest: restmapper.NewDeferredDiscoveryRESTMapper(cached)}
}

func (m *mapper) mapping(kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rest.RESTMapping(kind.GroupKind(), kind.Version)
}

func (m *mapper) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rest.Reset()
}
