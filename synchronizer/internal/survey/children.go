package survey

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

const (
	// page is how many objects are listed at a time.
	page = 500
	// maxListed bounds the objects of one kind and namespace that are looked at.
	maxListed = 20_000
	// maxNodes bounds a tree.
	maxNodes = 10_000
	// maxDepth bounds how often it is asked what objects own in turn: CronJob, Job, Pod.
	maxDepth = 4
)

var (
	replicaSets    = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}                                           //nolint:gochecknoglobals // a constant
	pods           = schema.GroupVersionResource{Version: "v1", Resource: "pods"}                                                                 //nolint:gochecknoglobals // a constant
	jobs           = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}                                                 //nolint:gochecknoglobals // a constant
	endpointSlices = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}                            //nolint:gochecknoglobals // a constant
	kindsOf        = map[schema.GroupVersionResource]string{replicaSets: "ReplicaSet", pods: "Pod", jobs: "Job", endpointSlices: "EndpointSlice"} //nolint:gochecknoglobals // a constant
)

// owns says what the controllers of Kubernetes make for objects of a kind.
var owns = map[schema.GroupKind]schema.GroupVersionResource{ //nolint:gochecknoglobals // a constant
	{Group: "apps", Kind: "Deployment"}:        replicaSets,
	{Group: "apps", Kind: "ReplicaSet"}:        pods,
	{Group: "apps", Kind: "StatefulSet"}:       pods,
	{Group: "apps", Kind: "DaemonSet"}:         pods,
	{Group: "", Kind: "ReplicationController"}: pods,
	{Group: "batch", Kind: "CronJob"}:          jobs,
	{Group: "batch", Kind: "Job"}:              pods,
	{Group: "", Kind: "Service"}:               endpointSlices,
}

// place is where children are listed.
type place struct {
	resource  schema.GroupVersionResource
	namespace string
}

func (p place) String() string {
	return fmt.Sprintf("%s in namespace %s", p.resource.GroupResource(), p.namespace)
}

// grow puts into a tree what its objects own in turn.
func (s *Survey) grow(ctx context.Context, t *tree) error {
	known := map[string]int{} // by UID
	for at := range t.nodes {
		known[t.nodes[at].uid] = at
	}
	fresh := 0
	for range maxDepth {
		places := t.places(fresh)
		fresh = len(t.nodes)
		for _, at := range places {
			if err := s.children(ctx, t, at, known); err != nil {
				return err
			}
		}
		if len(t.nodes) == fresh {
			return nil
		}
	}
	return nil
}

// places returns where the children of the nodes from a place of the list on are.
func (t *tree) places(from int) []place {
	found := map[place]bool{}
	for at := from; at < len(t.nodes); at++ {
		n := &t.nodes[at]
		if resource, has := owns[schema.GroupKind{Group: n.key.Group, Kind: n.key.Kind}]; has && n.uid != "" {
			found[place{resource, n.key.Namespace}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b place) int {
		return strings.Compare(a.resource.String()+" "+a.namespace, b.resource.String()+" "+b.namespace)
	})
}

// children puts the objects of a place into the tree that a node of it owns.
func (s *Survey) children(ctx context.Context, t *tree, at place, known map[string]int) error {
	return s.list(ctx, t, at, func(found *unstructured.Unstructured) bool {
		if _, again := known[string(found.GetUID())]; again {
			return true
		}
		owner, owned := ownerOf(found, known)
		if !owned {
			return true
		}
		if len(t.nodes) >= maxNodes {
			t.omit("the rest of the tree", fmt.Sprintf("a tree has at most %d objects", maxNodes))
			return false
		}
		known[string(found.GetUID())] = len(t.nodes)
		t.nodes = append(t.nodes, node{
			key:        object.Key{Group: at.resource.Group, Kind: kindsOf[at.resource], Namespace: found.GetNamespace(), Name: found.GetName()},
			apiVersion: at.resource.GroupVersion().String(), uid: string(found.GetUID()), owner: owner,
			health: s.Health(found), created: found.GetCreationTimestamp().Time,
		})
		return true
	})
}

func ownerOf(found *unstructured.Unstructured, known map[string]int) (owner int, owned bool) {
	for _, reference := range found.GetOwnerReferences() {
		if owner, owned = known[string(reference.UID)]; owned {
			return owner, true
		}
	}
	return none, false
}

// list calls each with every object of a place, until it returns false. What cannot be listed is an omission.
func (s *Survey) list(ctx context.Context, t *tree, at place, each func(*unstructured.Unstructured) bool) error {
	options := metav1.ListOptions{Limit: page}
	for looked := 0; ; {
		list, err := s.List(ctx, at.resource, at.namespace, options)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			t.omit(at.String(), refusal(at, err))
			return nil
		}
		for i := range list.Items {
			if !each(&list.Items[i]) {
				return nil
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return nil
		}
		if looked += len(list.Items); looked >= maxListed {
			t.omit(at.String(), fmt.Sprintf("there are more than %d; the others were not looked at", maxListed))
			return nil
		}
	}
}
