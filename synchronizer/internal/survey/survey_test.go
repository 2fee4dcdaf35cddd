package survey

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/serve"
)

// cluster is what a survey sees of one.
type cluster struct {
	records  []live.Record
	entries  map[object.Key]inventory.Entry
	unsynced bool
	lists    map[schema.GroupVersionResource][]unstructured.Unstructured
	refuses  map[schema.GroupVersionResource]error
	pages    int // how many lists were asked for
}

func (c *cluster) Owned(string) []live.Record { return c.records }
func (c *cluster) Synced(string) bool         { return !c.unsynced }

func (c *cluster) Load(context.Context, *v1alpha1.Sync) (map[object.Key]inventory.Entry, error) {
	if c.entries == nil {
		c.entries = map[object.Key]inventory.Entry{}
	}
	return c.entries, nil
}

// list pages as an API server does.
func (c *cluster) list(_ context.Context, resource schema.GroupVersionResource, namespace string, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	c.pages++
	if err := c.refuses[resource]; err != nil {
		return nil, err
	}
	from := 0
	if options.Continue != "" {
		if _, err := fmt.Sscan(options.Continue, &from); err != nil {
			return nil, err
		}
	}
	var all []unstructured.Unstructured
	for _, item := range c.lists[resource] {
		if item.GetNamespace() == namespace {
			all = append(all, item)
		}
	}
	to := min(from+int(options.Limit), len(all))
	out := &unstructured.UnstructuredList{Items: all[from:to]}
	if to < len(all) {
		out.SetContinue(fmt.Sprint(to))
	}
	return out, nil
}

// ask asks about Sync shop/web.
func (c *cluster) ask(t *testing.T, answer func(*Survey) serve.Answer) []*statusv1.AskResponse {
	t.Helper()
	s := &Survey{
		Sync: func(namespace, name string) (*v1alpha1.Sync, bool) {
			sync := &v1alpha1.Sync{}
			sync.Namespace, sync.Name, sync.UID = namespace, name, "sync"
			return sync, name == "web"
		},
		Live: c, Inventory: c, List: c.list, Health: func(*unstructured.Unstructured) health.Status { return health.Status{State: health.Current} },
	}
	var parts []*statusv1.AskResponse
	err := answer(s)(t.Context(), serve.Question{Namespace: "shop", Name: "web"}, func(part *statusv1.AskResponse) error {
		parts = append(parts, part)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

func record(group, kind, name string) live.Record {
	return live.Record{
		Key: object.Key{Group: group, Kind: kind, Namespace: "shop", Name: name}, GVK: schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind},
		UID: types.UID(name), Sync: "shop.web", OwnerNamesItself: true, Ours: true, Health: health.Status{State: health.Current},
	}
}

func child(name string, owners ...string) unstructured.Unstructured {
	var references []any
	for _, owner := range owners {
		references = append(references, map[string]any{"uid": owner})
	}
	return unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{
		"name": name, "namespace": "shop", "uid": name, "ownerReferences": references, "creationTimestamp": "2026-01-02T03:04:05Z",
	}}}
}

func lines(parts []*statusv1.AskResponse) []string {
	var out []string
	for _, part := range parts {
		switch p := part.GetPart().(type) {
		case *statusv1.AskResponse_Node:
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s < %s %s %s", p.Node.GetObject(), p.Node.GetOwner(), p.Node.GetHealth(), p.Node.GetFile())))
		case *statusv1.AskResponse_Event:
			out = append(out, fmt.Sprintf("%s %s: %s", p.Event.GetObject(), p.Event.GetReason(), p.Event.GetMessage()))
		case *statusv1.AskResponse_Omission:
			out = append(out, "omits "+p.Omission.GetWhat())
		}
	}
	return out
}

func trees(s *Survey) serve.Answer      { return s.Tree }
func happenings(s *Survey) serve.Answer { return s.Events }

func TestTree(t *testing.T) {
	t.Parallel()
	copied := record("", "ConfigMap", "copied")
	copied.OwnerNamesItself = false
	lost := object.Key{Kind: "ConfigMap", Namespace: "shop", Name: "lost"}
	foreign := object.Key{Kind: "ConfigMap", Namespace: "shop", Name: "foreign"}
	c := &cluster{
		records: []live.Record{record("apps", "Deployment", "web"), record("", "Service", "svc"), record("batch", "CronJob", "nightly"), copied},
		entries: map[object.Key]inventory.Entry{
			{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}: {File: "web.yaml", Baseline: [32]byte{1}},
			lost:    {Key: lost, File: "lost.yaml", Baseline: [32]byte{1}},
			foreign: {Key: foreign, File: "foreign.yaml"},
		},
		lists: map[schema.GroupVersionResource][]unstructured.Unstructured{
			replicaSets:    {child("web-1", "web"), child("other", "somebody")},
			pods:           {child("web-1-b", "web-1"), child("web-1-a", "web-1"), child("stray"), child("run-a", "run")},
			jobs:           {child("run", "nightly")},
			endpointSlices: {child("svc-x", "svc")},
		},
	}
	want := []string{
		"ConfigMap/shop/lost <  NotFound lost.yaml",
		"Service/shop/svc <  Current",
		"EndpointSlice/shop/svc-x < Service/shop/svc Current",
		"Deployment/shop/web <  Current web.yaml",
		"ReplicaSet/shop/web-1 < Deployment/shop/web Current",
		"Pod/shop/web-1-a < ReplicaSet/shop/web-1 Current",
		"Pod/shop/web-1-b < ReplicaSet/shop/web-1 Current",
		"CronJob/shop/nightly <  Current",
		"Job/shop/run < CronJob/shop/nightly Current",
		"Pod/shop/run-a < Job/shop/run Current",
	}
	if diff := cmp.Diff(want, lines(c.ask(t, trees))); diff != "" {
		t.Errorf("Tree(...): -want, +got:\n%s", diff)
	}
}

func TestWhatMayNotBeReadIsSaid(t *testing.T) {
	t.Parallel()
	c := &cluster{
		records: []live.Record{record("apps", "Deployment", "web")},
		refuses: map[schema.GroupVersionResource]error{replicaSets: apierrors.NewForbidden(replicaSets.GroupResource(), "", nil)},
	}
	parts := c.ask(t, trees)
	said := parts[len(parts)-1].GetOmission()
	if said.GetWhat() != "replicasets.apps in namespace shop" || !strings.Contains(said.GetReason(), `resources: ["replicasets"], verbs: [list]`) {
		t.Errorf("got %v, want what is missing and the rule that would help", said)
	}
}

func TestAnObjectIsUnknownUntilItsWatchHasBroughtSomething(t *testing.T) {
	t.Parallel()
	key := object.Key{Kind: "ConfigMap", Namespace: "shop", Name: "a"}
	c := &cluster{unsynced: true, entries: map[object.Key]inventory.Entry{key: {Key: key, Baseline: [32]byte{1}}}}
	if got := c.ask(t, trees)[0].GetNode().GetHealth(); got != "Unknown" {
		t.Errorf("health: got %s, want Unknown", got)
	}
}

func TestManyChildrenAreBounded(t *testing.T) {
	t.Parallel()
	c := &cluster{records: []live.Record{record("apps", "DaemonSet", "web")}, lists: map[schema.GroupVersionResource][]unstructured.Unstructured{}}
	for i := range maxNodes + 1 {
		c.lists[pods] = append(c.lists[pods], child(fmt.Sprintf("web-%d", i), "web"))
	}
	parts := c.ask(t, trees)
	if len(parts) != maxNodes+1 || parts[maxNodes].GetOmission() == nil {
		t.Errorf("%d parts, the last %v; want %d and what is left out", len(parts), parts[len(parts)-1], maxNodes)
	}
	c.lists[pods] = nil
	for i := range maxListed + 2*page {
		c.lists[pods] = append(c.lists[pods], child(fmt.Sprintf("other-%d", i), "other"))
	}
	c.pages = 0
	parts = c.ask(t, trees)
	if c.pages != maxListed/page || parts[len(parts)-1].GetOmission() == nil {
		t.Errorf("%d pages of others' pods, then %v; want %d and what is left out", c.pages, parts[len(parts)-1], maxListed/page)
	}
}

func event(uid, reason, at string) unstructured.Unstructured {
	return unstructured.Unstructured{Object: map[string]any{
		"metadata":       map[string]any{"namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"},
		"involvedObject": map[string]any{"uid": uid}, "reason": reason, "message": reason + " happened", "lastTimestamp": at,
	}}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	series := event("web-1-a", "Backoff", "")
	series.Object["series"] = map[string]any{"lastObservedTime": "2026-01-01T12:00:00.5Z", "count": int64(7)}
	c := &cluster{
		records: []live.Record{record("apps", "Deployment", "web"), record("", "Secret", "key")},
		lists: map[schema.GroupVersionResource][]unstructured.Unstructured{
			replicaSets:    {child("web-1", "web")},
			pods:           {child("web-1-a", "web-1")},
			eventsResource: {event("web", "Scaled", "2026-01-01T10:00:00Z"), event("sync", "Applied", "2026-01-01T11:00:00Z"), series, event("stranger", "Other", "2026-01-01T13:00:00Z"), event("key", "Rotated", "2026-01-01T09:00:00Z")},
		},
	}
	parts := c.ask(t, happenings)
	want := []string{
		"Pod/shop/web-1-a Backoff: Backoff happened", "Sync/shop/web Applied: Applied happened", "Deployment/shop/web Scaled: Scaled happened",
		"Secret/shop/key Rotated: What is said about a Secret may repeat its values and is left out.",
	}
	if diff := cmp.Diff(want, lines(parts)); diff != "" {
		t.Errorf("Events(...): -want, +got:\n%s", diff)
	}
	if first := parts[0].GetEvent(); first.GetCount() != 7 || parts[1].GetEvent().GetCount() != 1 {
		t.Errorf("counts: got %v and %v, want 7 and 1", first, parts[1])
	}
}

func TestAnEventOfAnySizeIsAnswered(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	huge := event("sync", long, "2026-01-01T10:00:00Z")
	huge.Object["type"], huge.Object["source"] = long, map[string]any{"component": long}
	c := &cluster{lists: map[schema.GroupVersionResource][]unstructured.Unstructured{eventsResource: {huge}}}
	parts := c.ask(t, happenings)
	const most = 4 * 1024
	if e := parts[0].GetEvent(); len(e.GetReason()) > most || len(e.GetType()) > most || len(e.GetReporter()) > most || len(e.GetMessage()) > most {
		t.Errorf("texts of %d, %d, %d and %d bytes", len(e.GetReason()), len(e.GetType()), len(e.GetReporter()), len(e.GetMessage()))
	}
}

func TestTheNewestEventsAreKept(t *testing.T) {
	t.Parallel()
	c := &cluster{lists: map[schema.GroupVersionResource][]unstructured.Unstructured{}}
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const more = 3 * maxEvents
	for i := range more {
		c.lists[eventsResource] = append(c.lists[eventsResource], event("sync", fmt.Sprint(i), began.Add(time.Duration(i)*time.Second).Format(time.RFC3339)))
	}
	slices.Reverse(c.lists[eventsResource][maxEvents:])
	parts := c.ask(t, happenings)
	if len(parts) != maxEvents+1 || parts[0].GetEvent().GetReason() != fmt.Sprint(more-1) || parts[maxEvents-1].GetEvent().GetReason() != fmt.Sprint(more-maxEvents) {
		t.Errorf("%d parts, from %v to %v", len(parts), parts[0], parts[maxEvents-1])
	}
	if left := parts[maxEvents].GetOmission().GetWhat(); left != fmt.Sprintf("%d older events", more-maxEvents) {
		t.Errorf("left out: got %q", left)
	}
}

func TestThereIsNoSuchSync(t *testing.T) {
	t.Parallel()
	s := &Survey{Sync: func(string, string) (*v1alpha1.Sync, bool) { return nil, false }}
	if err := s.Tree(t.Context(), serve.Question{Namespace: "shop", Name: "none"}, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want NotFound", err)
	}
}
