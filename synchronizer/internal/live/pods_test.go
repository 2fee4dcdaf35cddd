package live

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

var (
	digestA = "sha256:" + strings.Repeat("a", 64)
	digestB = "sha256:" + strings.Repeat("b", 64)
	web     = object.Key{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}
)

func workload(t testing.TB, key object.Key, label, version string, replicas int) *unstructured.Unstructured {
	t.Helper()
	return kubetest.Object(t, fmt.Sprintf(`{apiVersion: apps/v1, kind: %s, metadata: {name: %s, namespace: shop, uid: u, resourceVersion: "%s",
		labels: {tandem.dev/sync: %s}, annotations: {tandem.dev/owner: %s}}, status: {replicas: %d}}`,
		key.Kind, key.Name, version, label, key.ID(), replicas))
}

// podOfWeb is a pod of web's ReplicaSet web-5d9.
func podOfWeb(t testing.TB, name, image, imageID string, ready bool) *unstructured.Unstructured {
	t.Helper()
	return kubetest.Object(t, fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: shop, resourceVersion: "1",
		labels: {pod-template-hash: 5d9},
		ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-5d9, uid: u, controller: true}]},
		spec: {containers: [{name: app, image: "%s"}]},
		status: {phase: Running, containerStatuses: [{name: app, image: x, imageID: "%s", ready: %t}]}}`, name, image, imageID, ready))
}

func watchPods(t testing.TB) (*watching, *pods, map[string]int) {
	t.Helper()
	w := &watching{}
	images := map[string]int{}
	w.Store = New(Config{ImagesChanged: func(label string) { images[label]++ }}, nil, NewMapper(nil))
	kind := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	for _, label := range []string{"shop.web", "shop.other"} {
		w.Need(label, []v1alpha1.ObjectKind{{Group: "apps", Version: "v1", Kind: "Deployment", Namespaced: true}})
		n := w.needs[label][kind]
		n.resolved = true
		w.attach(label, n, kind, []place{{resource: kind.GroupVersion().WithResource("deployments")}})
		w.watched = n.watches[0]
	}
	p := newPods(w.Store, "")
	w.Store.pods[""] = p
	return w, p, images
}

func TestImages(t *testing.T) {
	t.Parallel()
	w, p, told := watchPods(t)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, want ...Image) {
		t.Helper()
		if diff := cmp.Diff(append([]Image{}, want...), w.Images("shop.web")); diff != "" {
			t.Errorf("Images(...) %s: -want, +got\n%s", what, diff)
		}
	}
	image := func(tag, digest string, pods, ready int) Image {
		return Image{Repository: "index.docker.io/library/app", Tag: tag, Digest: digest, Workload: web, Pods: pods, Ready: ready}
	}
	ok(w.Replace([]any{workload(t, web, "shop.web", "1", 0)}, "1"))
	unmanaged := podOfWeb(t, "b-1", "app:1", "", true)
	unmanaged.SetLabels(nil)
	ended := podOfWeb(t, "web-9", "app:0", "app@"+digestB, true)
	ok(unstructured.SetNestedField(ended.Object, "Succeeded", "status", "phase"))
	ok(p.Replace([]any{
		podOfWeb(t, "web-1", "app:1", "docker.io/library/app@"+digestA, true),
		podOfWeb(t, "web-2", "app:1", "docker.io/library/app@"+digestA, false),
		podOfWeb(t, "web-3", "app:2@"+digestB, "sha256:0123", true),
		unmanaged, ended,
	}, "2"))
	expect("after the list", image("1", digestA, 2, 1), image("2", digestB, 1, 1))
	if diff := cmp.Diff(map[string]int{"shop.web": 1}, told); diff != "" {
		t.Errorf("told: -want, +got\n%s", diff)
	}
	if len(p.records) != 3 {
		t.Errorf("%d pods kept, want 3", len(p.records))
	}
	ok(p.Update(podOfWeb(t, "web-2", "app:1", "docker.io/library/app@"+digestA, true)))
	ok(p.Delete(podOfWeb(t, "web-3", "", "", true)))
	expect("after events", image("1", digestA, 2, 2))
	clear(told)
	ok(p.Update(podOfWeb(t, "web-2", "app:1", "docker.io/library/app@"+digestA, true)))
	if len(told) > 0 {
		t.Errorf("told although nothing changed: %v", told)
	}
	ok(w.Update(workload(t, web, "shop.other", "3", 2)))
	expect("after another Sync took the workload over")
	if images := w.Images("shop.other"); len(images) != 1 {
		t.Errorf("Images(shop.other): %v", images)
	}
	ok(w.Delete(workload(t, web, "shop.other", "4", 2)))
	ok(p.Update(podOfWeb(t, "web-1", "app:1", "", true)))
	if len(p.records) != 1 {
		t.Errorf("%d pods kept of a workload that is no longer managed, want the one without an event", len(p.records))
	}
}

// Pods that came when nobody managed their workload were dropped.
func TestPodsAreListedAgain(t *testing.T) {
	t.Parallel()
	const fresh, running = 0, 2 // pods that the status counts
	copied := func(o *unstructured.Unstructured) *unstructured.Unstructured {
		o.SetAnnotations(nil)
		return o
	}
	bare := kubetest.Object(t, `{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, resourceVersion: "2",
		labels: {tandem.dev/sync: shop.web}, annotations: {tandem.dev/owner: Pod/shop/web}}, status: {phase: Running}}`)
	cases := map[string]struct {
		seen []*unstructured.Unstructured
		kept bool // a pod of the workload
		want bool
	}{
		"New":          {seen: []*unstructured.Unstructured{workload(t, web, "shop.web", "2", fresh)}},
		"Adopted":      {seen: []*unstructured.Unstructured{workload(t, web, "shop.web", "2", running)}, want: true},
		"CountedLater": {seen: []*unstructured.Unstructured{workload(t, web, "shop.web", "2", fresh), workload(t, web, "shop.web", "3", running)}, want: true},
		"NamedLater":   {seen: []*unstructured.Unstructured{copied(workload(t, web, "shop.web", "2", running)), workload(t, web, "shop.web", "3", running)}, want: true},
		"Copy":         {seen: []*unstructured.Unstructured{copied(workload(t, web, "shop.web", "2", running))}},
		"Kept":         {seen: []*unstructured.Unstructured{workload(t, web, "shop.web", "2", fresh), workload(t, web, "shop.web", "3", running)}, kept: true},
		"Bare":         {seen: []*unstructured.Unstructured{bare}, want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p, _ := watchPods(t)
			if err := w.Replace(nil, "1"); err != nil {
				t.Fatal(err)
			}
			for i, obj := range tc.seen {
				if err := w.Update(obj); err != nil {
					t.Fatal(err)
				}
				if i > 0 || !tc.kept {
					continue
				}
				if err := p.Update(podOfWeb(t, "web-1", "app:1", "", true)); err != nil {
					t.Fatal(err)
				}
			}
			if p.stale != tc.want {
				t.Errorf("pods are listed again: %t, want %t", p.stale, tc.want)
			}
		})
	}
}

func TestOwners(t *testing.T) {
	t.Parallel()
	key := func(group, kind, name string) object.Key {
		return object.Key{Group: group, Kind: kind, Namespace: "shop", Name: name}
	}
	cases := map[string]struct {
		metadata string
		want     []object.Key
	}{
		"Bare":        {"name: p", []object.Key{key("", "Pod", "p")}},
		"Deployment":  {"labels: {pod-template-hash: 5d9}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-5d9, controller: true}]", []object.Key{key("apps", "Deployment", "web"), key("apps", "ReplicaSet", "web-5d9")}},
		"StatefulSet": {"ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, controller: true}]", []object.Key{key("apps", "StatefulSet", "db")}},
		"DaemonSet":   {"ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: log, controller: true}]", []object.Key{key("apps", "DaemonSet", "log")}},
		"CronJob":     {"ownerReferences: [{apiVersion: batch/v1, kind: Job, name: backup-a-29, controller: true}]", []object.Key{key("batch", "CronJob", "backup-a"), key("batch", "Job", "backup-a-29")}},
		"Job":         {"ownerReferences: [{apiVersion: batch/v1, kind: Job, name: once, controller: true}]", []object.Key{key("batch", "Job", "once")}},
		"ReplicaSet":  {"ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, controller: true}]", []object.Key{key("apps", "ReplicaSet", "web")}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := kubetest.Object(t, "{apiVersion: v1, kind: Pod, metadata: {namespace: shop, "+tc.metadata+"}}")
			if diff := cmp.Diff(tc.want, owners(pod)); diff != "" {
				t.Errorf("owners(...): -want, +got\n%s", diff)
			}
		})
	}
}
