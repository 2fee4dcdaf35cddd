package baseline_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/managedfields/managedfieldstest"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
)

const manager = "tandem-synchronizer"

// converter knows the schemas of the built-in kinds, as the API server does.
var converter = applyconfigurations.NewTypeConverter(scheme.Scheme)

// cluster is one live object and the API server's own code for who owns what.
type cluster struct {
	managedfieldstest.TestFieldManager
	kind schema.GroupVersionKind
}

func newCluster(kind schema.GroupVersionKind) cluster {
	return cluster{managedfieldstest.NewTestFieldManager(converter, kind), kind}
}

func (c cluster) apply(t testing.TB, who string, fields map[string]any) {
	t.Helper()
	if err := c.Apply(c.object(fields), who, true); err != nil {
		t.Fatal(err)
	}
}

// update writes the live object after change, as kubectl edit and controllers do.
func (c cluster) update(t testing.TB, who string, change func(fields map[string]any)) {
	t.Helper()
	live := c.live(t)
	change(live.Object)
	if err := c.Update(c.object(live.Object), who); err != nil {
		t.Fatal(err)
	}
}

func (c cluster) object(fields map[string]any) runtime.Object {
	object := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(fields)}
	object.SetGroupVersionKind(c.kind)
	return object
}

// live is the object as a watch delivers it.
func (c cluster) live(t testing.TB) *unstructured.Unstructured {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c.Live())
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: fields}
}

var _ managedfields.TypeConverter = converter
