package live

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

const (
	// refreshEvery bounds how often an unknown kind makes us ask the cluster again.
	refreshEvery = 3 * time.Second
	// learnedFor is how long discovery may lag behind a CRD that we have seen.
	learnedFor = time.Minute
)

// Discoverer lists what the API server serves; *discovery.DiscoveryClient does.
type Discoverer interface {
	ServerGroupsAndResourcesWithContext(ctx context.Context) ([]*metav1.APIGroup, []*metav1.APIResourceList, error)
}

// Mapper knows under which resource the objects of a kind are served. It asks
// when it is first used and when it meets an unknown kind, and then for
// everything at once.
type Mapper struct {
	discovery Discoverer
	changed   []func() // told when more kinds may be known

	refreshing sync.Mutex // held while asking; who waits finds the answer
	asked      time.Time
	failure    error

	mu      sync.RWMutex
	kinds   map[schema.GroupVersionKind]mapping
	broken  map[schema.GroupVersion]error // do not answer now; their kinds stay known
	learned map[schema.GroupVersionKind]lesson
}

type mapping struct {
	resource   schema.GroupVersionResource
	namespaced bool
}

type lesson struct {
	mapping
	at time.Time
}

// NewMapper returns a mapper that asks nothing yet.
func NewMapper(discovery Discoverer) *Mapper {
	return &Mapper{discovery: discovery, learned: map[schema.GroupVersionKind]lesson{}}
}

// Resource returns the resource of a kind and whether its objects live in
// namespaces. The error for a kind that the cluster does not serve is of kind
// fault.NotFound and names what exists nearby; any other says that the cluster
// could not be asked.
func (m *Mapper) Resource(ctx context.Context, kind schema.GroupVersionKind) (schema.GroupVersionResource, bool, error) {
	found, ok := m.lookup(kind)
	if !ok {
		if err := m.refresh(ctx); err != nil {
			return schema.GroupVersionResource{}, false, err
		}
		if found, ok = m.lookup(kind); !ok {
			return schema.GroupVersionResource{}, false, m.unknown(kind)
		}
	}
	return found.resource, found.namespaced, nil
}

// Learn adds the kinds of a CustomResourceDefinition that is established, so
// that its objects need not wait until discovery lists them.
func (m *Mapper) Learn(crd *unstructured.Unstructured) {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	scope, _, _ := unstructured.NestedString(crd.Object, "spec", "scope")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	defer m.tell()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, item := range versions {
		version, _ := item.(map[string]any)
		name, _ := version["name"].(string)
		if served, _ := version["served"].(bool); !served {
			continue
		}
		gv := schema.GroupVersion{Group: group, Version: name}
		m.learned[gv.WithKind(kind)] = lesson{mapping{gv.WithResource(plural), scope == "Namespaced"}, time.Now()}
	}
}

// listen has fn told when more kinds may be known. It is called before the mapper is used.
func (m *Mapper) listen(fn func()) { m.changed = append(m.changed, fn) }

func (m *Mapper) tell() {
	for _, fn := range m.changed {
		fn()
	}
}

// forget drops a kind that turned out not to be served any more.
func (m *Mapper) forget(kind schema.GroupVersionKind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kinds, kind)
	delete(m.learned, kind)
}

func (m *Mapper) lookup(kind schema.GroupVersionKind) (mapping, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if found, ok := m.kinds[kind]; ok {
		return found, true
	}
	found, ok := m.learned[kind]
	return found.mapping, ok
}

// refresh asks the cluster, unless that was done a moment ago: then what it
// said still holds.
func (m *Mapper) refresh(ctx context.Context) error {
	m.refreshing.Lock()
	defer m.refreshing.Unlock()
	if !m.asked.IsZero() && time.Since(m.asked) < refreshEvery {
		return m.failure
	}
	_, lists, err := m.discovery.ServerGroupsAndResourcesWithContext(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	broken, partial := discovery.GroupDiscoveryFailedErrorGroups(err)
	m.asked, m.failure = time.Now(), nil
	if err != nil && !partial {
		m.failure = err
		return err
	}
	m.replace(lists, broken)
	m.tell()
	return nil
}

// replace takes over what the cluster serves. Versions that do not answer keep
// the kinds they had: one broken APIService MUST NOT take others with it, nor
// its own kinds.
func (m *Mapper) replace(lists []*metav1.APIResourceList, broken map[schema.GroupVersion]error) {
	kinds := map[schema.GroupVersionKind]mapping{}
	for _, list := range lists {
		add(kinds, list)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for kind, known := range m.kinds {
		if _, isBroken := broken[kind.GroupVersion()]; isBroken {
			kinds[kind] = known
		}
	}
	m.kinds, m.broken = kinds, broken
	maps.DeleteFunc(m.learned, func(_ schema.GroupVersionKind, l lesson) bool { return time.Since(l.at) > learnedFor })
}

func add(kinds map[schema.GroupVersionKind]mapping, list *metav1.APIResourceList) {
	version, err := schema.ParseGroupVersion(list.GroupVersion)
	if err != nil {
		return
	}
	for _, resource := range list.APIResources {
		kind := version.WithKind(resource.Kind)
		if _, known := kinds[kind]; known || strings.Contains(resource.Name, "/") {
			continue // subresources have kinds too, such as Scale
		}
		kinds[kind] = mapping{version.WithResource(resource.Name), resource.Namespaced}
	}
}
