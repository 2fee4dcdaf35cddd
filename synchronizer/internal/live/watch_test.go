package live

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

var configMaps = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}

// watching is a store with one watch of ConfigMaps, without a cluster: the test
// plays the reflector.
type watching struct {
	*Store
	*watched
	told map[string]int
}

func watchConfigMaps(labels ...string) *watching {
	w := &watching{told: map[string]int{}}
	w.Store = New(Config{Changed: func(label string) { w.told[label]++ }}, nil, NewMapper(nil))
	for _, label := range labels {
		w.Need(label, []v1alpha1.ObjectKind{{Version: "v1", Kind: "ConfigMap", Namespaced: true}})
		n := w.needs[label][configMaps]
		n.resolved = true
		w.attach(label, n, configMaps, []place{{resource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}}})
		w.watched = n.watches[0]
	}
	return w
}

// configMap is owned by the Sync of that label; data is all that we applied.
func configMap(label, name, version, data string) *unstructured.Unstructured {
	key := object.Key{Kind: "ConfigMap", Namespace: "shop", Name: name}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"a": data},
		"metadata": map[string]any{
			"name": name, "namespace": "shop", "uid": "uid-of-" + name, "resourceVersion": version,
			"labels":      map[string]any{v1alpha1.LabelSync: label},
			"annotations": map[string]any{v1alpha1.AnnotationOwner: key.ID()},
			"managedFields": []any{map[string]any{
				"manager": v1alpha1.FieldManager, "operation": "Apply",
				"fieldsV1": map[string]any{"f:data": map[string]any{"f:a": map[string]any{}}},
			}},
		},
	}}
}

func (w *watching) versions() map[string]string {
	versions := map[string]string{}
	for _, r := range w.Owned("shop.web") {
		versions[r.Key.Name] = r.ResourceVersion
	}
	return versions
}

func TestWatchedEvents(t *testing.T) {
	t.Parallel()
	cm := func(name, version string) *unstructured.Unstructured {
		return configMap("shop.web", name, version, version)
	}
	type steps func(w *watching) error
	cases := map[string]struct {
		reason string
		steps  steps
		want   map[string]string
	}{
		"Events": {"the last event counts", func(w *watching) error {
			return firstError(w.Add(cm("a", "5")), w.Update(cm("a", "6")), w.Add(cm("b", "7")), w.Delete(cm("b", "8")))
		}, map[string]string{"a": "6"}},
		"OwnWriteThenItsOldEvents": {"what was before our write comes late and does not undo it", func(w *watching) error {
			w.Observe(cm("a", "10"))
			return firstError(w.Update(cm("a", "8")), w.Update(cm("a", "9")))
		}, map[string]string{"a": "10"}},
		"OwnWriteThenLongerVersion": {"versions are numbers, not texts", func(w *watching) error {
			w.Observe(cm("a", "9"))
			return w.Update(cm("a", "10"))
		}, map[string]string{"a": "10"}},
		"OldDeletion": {"our write created it anew after that", func(w *watching) error {
			w.Observe(cm("a", "10"))
			return w.Delete(cm("a", "9"))
		}, map[string]string{"a": "10"}},
		"ObservedTooLate": {"the watch has seen the object go already", func(w *watching) error {
			err := firstError(w.Add(cm("a", "10")), w.Delete(cm("a", "11")))
			w.Observe(cm("a", "10"))
			return err
		}, map[string]string{}},
		"ObservedTooLateByBookmark": {"the watch is further, and does not know the object", func(w *watching) error {
			err := w.Bookmark("20")
			w.Observe(cm("a", "10"))
			return err
		}, map[string]string{}},
		"ListedAgain": {"what is not in the list is gone", func(w *watching) error {
			return firstError(w.Add(cm("a", "5")), w.Add(cm("b", "6")), w.Replace([]any{cm("b", "6")}, "7"))
		}, map[string]string{"b": "6"}},
		"ListedBeforeOwnWrite": {"our write is newer than the list", func(w *watching) error {
			w.Observe(cm("a", "10"))
			w.Observe(cm("b", "11"))
			return w.Replace([]any{cm("a", "5")}, "7")
		}, map[string]string{"a": "10", "b": "11"}},
		"LostLabel": {"a selector's watch says deleted", func(w *watching) error {
			return firstError(w.Add(cm("a", "5")), w.Delete(cm("a", "6")))
		}, map[string]string{}},
		"OtherSync": {"the label says whose it is now", func(w *watching) error {
			return firstError(w.Add(cm("a", "5")), w.Update(configMap("shop.other", "a", "6", "")))
		}, map[string]string{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watchConfigMaps("shop.web", "shop.other")
			if err := w.Replace(nil, "1"); err != nil {
				t.Fatal(err)
			}
			if err := tc.steps(w); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, w.versions()); diff != "" {
				t.Errorf("%s: Owned(...): -want, +got\n%s", tc.reason, diff)
			}
		})
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestChanged(t *testing.T) {
	t.Parallel()
	w := watchConfigMaps("shop.web", "shop.other")
	expect := func(what string, err error, want map[string]int) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, w.told); diff != "" {
			t.Errorf("%s: -want, +got\n%s", what, diff)
		}
		clear(w.told)
	}
	none := map[string]int{}
	thousand := make([]any, 1000)
	for i := range thousand {
		thousand[i] = configMap("shop.web", fmt.Sprint("a", i), "1", "")
	}
	expect("the first list tells everybody who waits for it, once", w.Replace(thousand, "2"), map[string]int{"shop.web": 1, "shop.other": 1})
	expect("the same list again", w.Replace(thousand, "3"), none)
	a := configMap("shop.web", "a0", "4", "")
	a.SetLabels(map[string]string{v1alpha1.LabelSync: "shop.web", "others": "label"})
	expect("a change of what is not ours", w.Update(a), none)
	expect("a change of what is ours", w.Update(configMap("shop.web", "a0", "5", "evil")), map[string]int{"shop.web": 1})
	w.Observe(configMap("shop.web", "a0", "6", ""))
	expect("our own write", nil, none)
	expect("the event of our own write", w.Update(configMap("shop.web", "a0", "6", "")), none)
	deleting := configMap("shop.web", "a0", "7", "")
	now := metav1.Now()
	deleting.SetDeletionTimestamp(&now)
	expect("deletion begins", w.Update(deleting), map[string]int{"shop.web": 1})
	expect("deletion ends", w.Delete(configMap("shop.web", "a0", "8", "")), map[string]int{"shop.web": 1})
	expect("another Sync takes it", w.Update(configMap("shop.other", "a1", "9", "")), map[string]int{"shop.web": 1, "shop.other": 1})
	expect("a Sync that nobody knows", w.Update(configMap("shop.gone", "a2", "10", "")), map[string]int{"shop.web": 1})
	expect("an object that goes unseen between two lists", w.Replace(nil, "11"), map[string]int{"shop.web": 1, "shop.other": 1})
}

func TestRecordSurvivesPacking(t *testing.T) {
	t.Parallel()
	obj := configMap("shop.web", "a", "5", "x")
	obj.SetAnnotations(map[string]string{v1alpha1.AnnotationPrune: v1alpha1.PruneKeep, v1alpha1.AnnotationOwner: "ConfigMap/shop/a"})
	now := metav1.Now()
	obj.SetDeletionTimestamp(&now)
	want := reduce(obj, health.Of)
	want.Writers = []string{"kubectl-edit", "helm"}
	got := pack(want).unpack(configMaps)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Record{})); diff != "" {
		t.Errorf("pack, unpack: -want, +got\n%s", diff)
	}
	if !got.Owned() || !got.Deleting || !got.Keep {
		t.Errorf("record: owned %t, deleting %t, keep %t", got.Owned(), got.Deleting, got.Keep)
	}
}

// Labels and annotations are copied to children; a copy names its original.
func TestCopyIsNotOwned(t *testing.T) {
	t.Parallel()
	obj := configMap("shop.web", "a", "5", "x")
	obj.SetName("a-copy")
	if r := reduce(obj, health.Of); r.Owned() || r.Sync != "shop.web" {
		t.Errorf("reduce(copy): owned %t, Sync %q", r.Owned(), r.Sync)
	}
}

func TestNeed(t *testing.T) {
	t.Parallel()
	w := watchConfigMaps("shop.web", "shop.other")
	if err := w.Replace([]any{configMap("shop.web", "a", "1", "")}, "1"); err != nil {
		t.Fatal(err)
	}
	key := object.Key{Kind: "ConfigMap", Namespace: "shop", Name: "a"}
	w.Release("shop.other")
	if _, ok := w.Get(key); !ok || !w.Synced("shop.web") {
		t.Errorf("Get(%s) while a Sync needs it: %t", key, ok)
	}
	w.Need("shop.web", []v1alpha1.ObjectKind{{Version: "v1", Kind: "Secret", Namespaced: true}})
	if _, ok := w.Get(key); ok || w.Synced("shop.web") {
		t.Errorf("Get(%s) after nobody needs it: %t", key, ok)
	}
	if kinds := slices.Collect(maps.Keys(w.Store.byKind)); len(kinds) != 0 {
		t.Errorf("watches left: %v", kinds)
	}
}

// While Git moves from one version of a kind to another, both are watched. An
// object's digest is that of the version it was applied in.
func TestTwoVersions(t *testing.T) {
	t.Parallel()
	w := watchConfigMaps("shop.web")
	old := w.watched
	newer := schema.GroupVersionKind{Version: "v2", Kind: "ConfigMap"}
	n := &need{resolved: true}
	w.needs["shop.web"][newer] = n
	w.attach("shop.web", n, newer, []place{{resource: schema.GroupVersionResource{Version: "v2", Resource: "configmaps"}}})
	in := func(version, applied, resourceVersion string) *unstructured.Unstructured {
		obj := configMap("shop.web", "a", resourceVersion, version)
		obj.SetAPIVersion(version)
		obj.Object["metadata"].(map[string]any)["managedFields"].([]any)[0].(map[string]any)["apiVersion"] = applied
		return obj
	}
	expect := func(what, version string) {
		t.Helper()
		owned := w.Owned("shop.web")
		if len(owned) != 1 || owned[0].GVK.Version != version {
			t.Fatalf("%s: Owned(...): %+v, want it once, in %s", what, owned, version)
		}
		if record, _ := w.Get(owned[0].Key); record.GVK.Version != version {
			t.Errorf("%s: Get(...): %+v, want it in %s", what, record, version)
		}
	}
	if err := firstError(old.Replace([]any{in("v1", "v1", "5")}, "5"), n.watches[0].Replace([]any{in("v2", "v1", "5")}, "5")); err != nil {
		t.Fatal(err)
	}
	expect("applied in v1", "v1")
	w.Observe(in("v2", "v2", "6"))
	expect("applied in v2, seen by nobody else", "v2")
	if err := old.Update(in("v1", "v2", "6")); err != nil {
		t.Fatal(err)
	}
	expect("applied in v2", "v2")
	if err := old.Update(in("v1", "v2", "7")); err != nil {
		t.Fatal(err)
	}
	expect("seen first by the watch of v1", "v1")
}

// An object that is named while a list comes in was read without what is kept of objects that are looked at: who asks has to
// look at it himself.
func TestNamedWhileItIsListed(t *testing.T) {
	t.Parallel()
	kind := v1alpha1.ObjectKind{Version: "v1", Kind: "ConfigMap", Namespaced: true}
	w := &watching{}
	w.Store = New(Config{Looking: true, Digest: func(*unstructured.Unstructured) [32]byte { return [32]byte{1} }}, nil, NewMapper(nil))
	w.Look("shop.web", []v1alpha1.ObjectKind{kind}, nil)
	n := w.needs["shop.web"][configMaps]
	w.attach("shop.web", n, configMaps, []place{{resource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}}})
	a := configMap("", "a", "5", "")
	listed, err := n.watches[0].Transformer()(a)
	if err != nil {
		t.Fatal(err)
	}
	key := object.Key{Kind: "ConfigMap", Namespace: "shop", Name: "a"}
	w.Look("shop.web", []v1alpha1.ObjectKind{kind}, []object.Key{key})
	if err := n.watches[0].Replace([]any{listed}, "7"); err != nil {
		t.Fatal(err)
	}
	if r, ok := w.Get(key); ok {
		t.Errorf("known without a look: %+v", r)
	}
	w.Observe(a)
	if r, _ := w.Get(key); r.Baseline != [32]byte{1} {
		t.Errorf("after a look: %+v", r)
	}
}

// TestNothingIsKeptOfAnotherReplicasObjects has two Syncs of a kind, of which one is another replica's: its objects have no
// record, whether they came before or after that was known, in a list or one by one, and the own ones are as before.
func TestNothingIsKeptOfAnotherReplicasObjects(t *testing.T) {
	t.Parallel()
	w := watchConfigMaps("shop.web")
	has := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, e := range w.records {
			got = append(got, e.name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: records of %v, want %v", what, got, want)
		}
	}
	err := firstError(w.Add(configMap("shop.web", "mine", "1", "a")), w.Add(configMap("shop.db", "early", "2", "a")))
	if err != nil {
		t.Fatal(err)
	}
	has("before it is known", "early", "mine")
	listed, err := w.Transformer()(configMap("shop.db", "listed", "3", "a"))
	if err != nil {
		t.Fatal(err)
	}
	w.Foreign("shop.db", true)
	has("once it is", "mine")
	mine, err := w.Transformer()(configMap("shop.web", "mine", "4", "b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := firstError(w.Replace([]any{listed, mine}, "4"), w.Add(configMap("shop.db", "late", "5", "a"))); err != nil {
		t.Fatal(err)
	}
	has("after a list", "mine")
	if len(w.bySync) != 1 {
		t.Errorf("records by Sync: got %d Syncs, want 1", len(w.bySync))
	}
	w.Observe(configMap("shop.db", "written", "6", "a"))
	has("after a write", "mine")
	if err := w.Add(configMap("shop.db", "mine", "7", "b")); err != nil {
		t.Fatal(err)
	}
	has("when the other took it over")
	w.Foreign("shop.db", false)
	if err := w.Add(configMap("shop.db", "late", "8", "a")); err != nil {
		t.Fatal(err)
	}
	has("when there is no such Sync any more", "late")
}

// A kind that is named twice does not stand for one that is not needed any more.
func TestKindsThatAreNamedTwice(t *testing.T) {
	t.Parallel()
	w := watchConfigMaps("shop.web")
	configMap := v1alpha1.ObjectKind{Version: "v1", Kind: "ConfigMap", Namespaced: true}
	secret := v1alpha1.ObjectKind{Version: "v1", Kind: "Secret", Namespaced: true}
	w.Need("shop.web", []v1alpha1.ObjectKind{configMap, secret})
	at := place{resource: schema.GroupVersionResource{Version: "v1", Resource: "secrets"}}
	w.attach("shop.web", w.needs["shop.web"][kindOf(secret)], kindOf(secret), []place{at})
	w.Need("shop.web", []v1alpha1.ObjectKind{configMap, configMap})
	if got := slices.Collect(maps.Keys(w.needs["shop.web"])); !slices.Equal(got, []schema.GroupVersionKind{configMaps}) || w.watches[at] != nil {
		t.Errorf("needs %v, and secrets are watched: %t", got, w.watches[at] != nil)
	}
}
