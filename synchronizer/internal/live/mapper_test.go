package live_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

var errBoom = errors.New("boom")

var (
	deployments = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	metrics     = schema.GroupVersionKind{Group: "metrics.k8s.io", Version: "v1beta1", Kind: "NodeMetrics"}
	widgets     = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}
)

type discoverer struct {
	lists []*metav1.APIResourceList
	err   error
	asked atomic.Int32
}

func (d *discoverer) ServerGroupsAndResourcesWithContext(context.Context) ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	d.asked.Add(1)
	return nil, d.lists, d.err
}

func served(version string, resources ...metav1.APIResource) *metav1.APIResourceList {
	return &metav1.APIResourceList{GroupVersion: version, APIResources: resources}
}

func builtins() *discoverer {
	return &discoverer{lists: []*metav1.APIResourceList{
		served("v1", metav1.APIResource{Name: "namespaces", Kind: "Namespace"},
			metav1.APIResource{Name: "replicationcontrollers/scale", Kind: "Scale", Namespaced: true}),
		served("apps/v1", metav1.APIResource{Name: "deployments", Kind: "Deployment", Namespaced: true}),
		served("networking.k8s.io/v1", metav1.APIResource{Name: "ingresses", Kind: "Ingress", Namespaced: true}),
	}}
}

func TestMapperResource(t *testing.T) {
	t.Parallel()
	d := builtins()
	m := live.NewMapper(d)
	for range 3 {
		resource, namespaced, err := m.Resource(t.Context(), deployments)
		if err != nil || resource != deployments.GroupVersion().WithResource("deployments") || !namespaced {
			t.Errorf("Resource(%s): %s, %t, %v", deployments, resource, namespaced, err)
		}
	}
	if _, namespaced, err := m.Resource(t.Context(), schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}); err != nil || namespaced {
		t.Errorf("Resource(Namespace): namespaced %t, %v", namespaced, err)
	}
	if asked := d.asked.Load(); asked != 1 {
		t.Errorf("asked %d times for known kinds, want 1", asked)
	}
}

func TestMapperUnknown(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		kind schema.GroupVersionKind
		want string
	}{
		"Version":     {schema.GroupVersionKind{Group: "apps", Version: "v1beta1", Kind: "Deployment"}, "apps/v1"},
		"Spelling":    {schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deploymnet"}, "Deployment?"},
		"Group":       {schema.GroupVersionKind{Group: "extensions", Version: "v1beta1", Kind: "Ingress"}, "networking.k8s.io/v1"},
		"NoGroup":     {widgets, `no group "example.com"`},
		"NothingNear": {schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Frobnicator"}, `"apps"`},
		"Subresource": {schema.GroupVersionKind{Version: "v1", Kind: "Scale"}, `""`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := live.NewMapper(builtins()).Resource(t.Context(), tc.kind)
			if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Resource(%s): %v, want not found and %q", tc.kind, err, tc.want)
			}
		})
	}
}

func TestMapperRefreshesAtMostEveryFewSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := builtins()
		m := live.NewMapper(d)
		for range 100 {
			if _, _, err := m.Resource(t.Context(), widgets); !fault.Is(err, fault.NotFound) {
				t.Fatalf("Resource(%s): %v, want not found", widgets, err)
			}
		}
		if asked := d.asked.Load(); asked != 1 {
			t.Errorf("asked %d times, want 1", asked)
		}
		d.lists = append(d.lists, served("example.com/v1", metav1.APIResource{Name: "widgets", Kind: "Widget"}))
		time.Sleep(5 * time.Second) //nolint:forbidigo // the bubble's clock
		if _, _, err := m.Resource(t.Context(), widgets); err != nil {
			t.Errorf("Resource(%s) after its CRD came: %v", widgets, err)
		}
	})
}

func TestMapperBrokenGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := builtins()
		d.lists = append(d.lists, served("metrics.k8s.io/v1beta1", metav1.APIResource{Name: "nodes", Kind: "NodeMetrics"}))
		m := live.NewMapper(d)
		if _, _, err := m.Resource(t.Context(), metrics); err != nil {
			t.Fatal(err)
		}
		d.lists = d.lists[:len(d.lists)-1]
		d.err = &discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{metrics.GroupVersion(): errBoom}}
		time.Sleep(5 * time.Second) //nolint:forbidigo // the bubble's clock
		other := metrics.GroupVersion().WithKind("PodMetrics")
		if _, _, err := m.Resource(t.Context(), other); !errors.Is(err, errBoom) || fault.Is(err, fault.NotFound) {
			t.Errorf("Resource(%s) of a group that does not answer: %v", other, err)
		}
		for _, kind := range []schema.GroupVersionKind{metrics, deployments} {
			if _, _, err := m.Resource(t.Context(), kind); err != nil {
				t.Errorf("Resource(%s) while another does not answer: %v", kind, err)
			}
		}
	})
}

func TestMapperWithoutCluster(t *testing.T) {
	t.Parallel()
	m := live.NewMapper(&discoverer{err: errBoom})
	for range 2 {
		if _, _, err := m.Resource(t.Context(), deployments); !errors.Is(err, errBoom) {
			t.Errorf("Resource(...): %v, want the cluster's error", err)
		}
	}
}

func TestMapperLearn(t *testing.T) {
	t.Parallel()
	crd := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"group": "example.com", "scope": "Namespaced", "names": map[string]any{"plural": "widgets", "kind": "Widget"},
		"versions": []any{map[string]any{"name": "v1", "served": true}, map[string]any{"name": "v0", "served": false}},
	}}}
	m := live.NewMapper(builtins())
	m.Learn(crd)
	resource, namespaced, err := m.Resource(t.Context(), widgets)
	if err != nil || resource.Resource != "widgets" || !namespaced {
		t.Errorf("Resource(%s): %s, %t, %v", widgets, resource, namespaced, err)
	}
	old := schema.GroupVersionKind{Group: "example.com", Version: "v0", Kind: "Widget"}
	if _, _, err := m.Resource(t.Context(), old); !fault.Is(err, fault.NotFound) {
		t.Errorf("Resource(%s) that is not served: %v, want not found", old, err)
	}
}
