// Package survey tells what a cluster knows about a Sync's objects besides what their watches bring: what they own in
// turn, and the Kubernetes Events about them all.
//
// It looks when it is asked, as the synchronizer and with its rights. What it may not look at is said and not worked
// around.
package survey

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/serve"
)

// Live is what the watches know.
type Live interface {
	// Owned returns the objects that carry a Sync's label.
	Owned(label string) []live.Record
	// Synced reports whether everything that the Sync needs has been listed.
	Synced(label string) bool
}

// Inventory is what Syncs own, as recorded.
type Inventory interface {
	Load(ctx context.Context, sync *v1alpha1.Sync) (map[object.Key]inventory.Entry, error)
}

// List lists objects as the synchronizer.
type List func(ctx context.Context, resource schema.GroupVersionResource, namespace string, options metav1.ListOptions) (*unstructured.UnstructuredList, error)

// Survey looks at the objects of Syncs.
type Survey struct {
	// Sync finds a Sync by its name.
	Sync func(namespace, name string) (*v1alpha1.Sync, bool)
	// Live, Inventory and List are where it looks.
	Live      Live
	Inventory Inventory
	List      List
	// Health says how an object is doing.
	Health func(*unstructured.Unstructured) health.Status
}

// node is one object of a tree.
type node struct {
	key        object.Key
	apiVersion string
	uid        string
	owner      int // its place in the list of nodes; none for what the Sync applies
	health     health.Status
	file       string
	created    time.Time
}

// none is the owner of what the Sync applies.
const none = -1

// tree is what is known about a Sync's objects. Nodes come after their owners.
type tree struct {
	sync      *v1alpha1.Sync
	nodes     []node
	omissions []*statusv1.AskResponse
}

func (t *tree) omit(what, reason string) {
	t.omissions = append(t.omissions, serve.Omission(what, reason))
}

// Tree answers with a node for every object of a Sync, and for what it owns in turn.
func (s *Survey) Tree(ctx context.Context, asked serve.Question, each serve.Each) error {
	t, err := s.look(ctx, asked)
	if err != nil {
		return err
	}
	for _, at := range t.ordered() {
		if err := each(t.part(at)); err != nil {
			return err
		}
	}
	return hand(t.omissions, each)
}

func hand(parts []*statusv1.AskResponse, each serve.Each) error {
	for _, part := range parts {
		if err := each(part); err != nil {
			return err
		}
	}
	return nil
}

// look makes the tree of a Sync.
func (s *Survey) look(ctx context.Context, asked serve.Question) (*tree, error) {
	sync, ok := s.Sync(asked.Namespace, asked.Name)
	if !ok {
		return nil, fault.New(fault.NotFound, "there is no Sync %s/%s", asked.Namespace, asked.Name)
	}
	t := &tree{sync: sync}
	if err := s.roots(ctx, t); err != nil {
		return nil, err
	}
	return t, s.grow(ctx, t)
}

// roots puts the objects that the Sync applies into its tree.
func (s *Survey) roots(ctx context.Context, t *tree) error {
	label := t.sync.Label()
	entries, err := s.Inventory.Load(ctx, t.sync)
	if err != nil {
		return err
	}
	for _, record := range s.Live.Owned(label) {
		if !record.Owned() {
			continue
		}
		t.nodes = append(t.nodes, node{
			key: record.Key, apiVersion: record.GVK.GroupVersion().String(), uid: string(record.UID), owner: none,
			health: record.Health, file: entries[record.Key].File,
		})
		delete(entries, record.Key)
	}
	missing := health.Status{State: health.NotFound, Message: "The Sync applied it, and it is not there."}
	if !s.Live.Synced(label) {
		missing = health.Status{State: health.Unknown, Message: "Its watch has brought nothing yet."}
	}
	for key, entry := range entries {
		if !entry.Foreign() {
			t.nodes = append(t.nodes, node{key: key, owner: none, health: missing, file: entry.File})
		}
	}
	slices.SortFunc(t.nodes, func(a, b node) int { return a.key.Compare(b.key) })
	return nil
}

// ordered returns the places of all nodes, each node before what it owns.
func (t *tree) ordered() []int {
	owned := map[int][]int{}
	for at := range t.nodes {
		owned[t.nodes[at].owner] = append(owned[t.nodes[at].owner], at)
	}
	order := make([]int, 0, len(t.nodes))
	var visit func(owner int)
	visit = func(owner int) {
		slices.SortFunc(owned[owner], func(a, b int) int { return t.nodes[a].key.Compare(t.nodes[b].key) })
		for _, at := range owned[owner] {
			order = append(order, at)
			visit(at)
		}
	}
	visit(none)
	return order
}

func (t *tree) part(at int) *statusv1.AskResponse {
	n := t.nodes[at]
	out := &statusv1.TreeNode{
		Object: n.key.String(), ApiVersion: n.apiVersion, Uid: n.uid, Health: n.health.State.String(),
		Message: serve.Clip(n.health.Message), File: n.file,
	}
	if n.owner != none {
		out.Owner = t.nodes[n.owner].key.String()
	}
	if !n.created.IsZero() {
		out.Created = timestamppb.New(n.created)
	}
	return &statusv1.AskResponse{Part: &statusv1.AskResponse_Node{Node: out}}
}

// refusal says why objects could not be listed, and what would help.
func refusal(at place, err error) string {
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("the synchronizer may not list them; this rule in a Role for its account there would allow it: {apiGroups: [%q], resources: [%q], verbs: [list]}", at.resource.Group, at.resource.Resource)
	case apierrors.IsNotFound(err):
		return "the cluster does not serve them"
	default:
		return err.Error()
	}
}

// newest orders times, the newest first.
func newest(a, b time.Time) int { return cmp.Compare(b.UnixNano(), a.UnixNano()) }
