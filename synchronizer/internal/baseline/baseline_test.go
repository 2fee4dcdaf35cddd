package baseline_test

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
)

var deployment = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}

func fields(t testing.TB, text string) map[string]any {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON([]byte(`{"apiVersion":"apps/v1","kind":"Deployment",` + text[1:])); err != nil {
		t.Fatal(err)
	}
	return object.Object
}

const web = `{"metadata":{"name":"web","labels":{"app":"web"},"finalizers":["example.com/a","example.com/b"]},
	"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"spec":{
		"nodeSelector":{"disk":"ssd"},
		"tolerations":[{"key":"a"},{"key":"b"}],
		"containers":[
			{"name":"app","image":"app:1","ports":[{"containerPort":80,"protocol":"TCP"},{"containerPort":80,"protocol":"UDP"}],
			 "env":[{"name":"A","value":"1"},{"name":"B","value":"2"}],"resources":{}},
			{"name":"log","image":"log:1"}]}}}}`

func container(fields map[string]any, index int) map[string]any {
	list, _, _ := unstructured.NestedSlice(fields, "spec", "template", "spec", "containers")
	return list[index].(map[string]any)
}

func set(t testing.TB, value any, path ...string) func(map[string]any) {
	t.Helper()
	return func(fields map[string]any) {
		if err := unstructured.SetNestedField(fields, value, path...); err != nil {
			t.Error(err)
		}
	}
}

func eachContainer(t testing.TB, change func(container map[string]any)) func(map[string]any) {
	t.Helper()
	return func(fields map[string]any) {
		list, _, _ := unstructured.NestedSlice(fields, "spec", "template", "spec", "containers")
		for _, item := range list {
			change(item.(map[string]any))
		}
		set(t, list, "spec", "template", "spec", "containers")(fields)
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		change func(fields map[string]any) // by another manager
		drift  bool
	}{
		"Nothing":      {"an update that changes nothing is no drift", func(map[string]any) {}, false},
		"Scalar":       {"a value of ours", set(t, int64(5), "spec", "replicas"), true},
		"Label":        {"a value of ours in a map that others share", set(t, "shop", "metadata", "labels", "app"), true},
		"OtherLabel":   {"others may add to a shared map", set(t, "b", "metadata", "labels", "a"), false},
		"OtherField":   {"a field that we never set", set(t, true, "spec", "paused"), false},
		"Status":       {"what a controller reports", set(t, int64(2), "status", "replicas"), false},
		"AtomicMap":    {"an atomic map is ours as a whole", set(t, "b", "spec", "selector", "matchLabels", "a"), true},
		"Image":        {"below the item of an associative list", eachContainer(t, func(c map[string]any) { c["image"] = "evil:1" }), true},
		"OtherInItem":  {"others may add to an item of ours", eachContainer(t, func(c map[string]any) { c["tty"] = true }), false},
		"EmptyMap":     {"an empty map of ours that others fill in", eachContainer(t, func(c map[string]any) { c["resources"] = map[string]any{"limits": map[string]any{"cpu": "1"}} }), false},
		"RemovedField": {"a value of ours is gone", func(f map[string]any) { unstructured.RemoveNestedField(f, "spec", "replicas") }, true},
		"RemovedItem": {"an item of ours is gone", func(f map[string]any) {
			set(t, []any{container(f, 0)}, "spec", "template", "spec", "containers")(f)
		}, true},
		"AddedItem": {"others may add items", func(f map[string]any) {
			set(t, []any{container(f, 0), container(f, 1), map[string]any{"name": "mesh", "image": "mesh:1"}}, "spec", "template", "spec", "containers")(f)
		}, false},
		"Reordered": {"the order of an associative list", func(f map[string]any) {
			set(t, []any{container(f, 1), container(f, 0)}, "spec", "template", "spec", "containers")(f)
		}, false},
		"ReorderedAtomic": {"the order of an atomic list", set(t, []any{map[string]any{"key": "b"}, map[string]any{"key": "a"}}, "spec", "template", "spec", "tolerations"), true},
		"ReorderedSet":    {"the order of a set", set(t, []any{"example.com/b", "example.com/a"}, "metadata", "finalizers"), false},
		"AddedMember":     {"others may add members to a set", set(t, []any{"example.com/a", "example.com/b", "example.com/c"}, "metadata", "finalizers"), false},
		"RemovedMember":   {"a member of ours is gone", set(t, []any{"example.com/b"}, "metadata", "finalizers"), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(deployment)
			c.apply(t, manager, fields(t, web))
			before, ok := baseline.Of(c.live(t), manager)
			if !ok {
				t.Fatal("Of(...): no Apply entry after our apply")
			}
			c.update(t, "kubectl-edit", tc.change)
			after, _ := baseline.Of(c.live(t), manager)
			if drift := before != after; drift != tc.drift {
				t.Errorf("%s: Of(...) differs: %t, want %t", tc.reason, drift, tc.drift)
			}
		})
	}
}

// A second owner of the same value takes nothing from us; an owner that forces
// another value does.
func TestOfWhenOthersApply(t *testing.T) {
	t.Parallel()
	c := newCluster(deployment)
	c.apply(t, manager, fields(t, web))
	before, _ := baseline.Of(c.live(t), manager)
	c.apply(t, "helm", fields(t, `{"metadata":{"name":"web"},"spec":{"replicas":2}}`))
	if shared, _ := baseline.Of(c.live(t), manager); shared != before {
		t.Error("Of(...) changed although the other owner applied the same value")
	}
	c.apply(t, "helm", fields(t, `{"metadata":{"name":"web"},"spec":{"replicas":3}}`))
	taken, ok := baseline.Of(c.live(t), manager)
	if !ok || taken == before {
		t.Error("Of(...) is the same although the other owner took a path away")
	}
	c.apply(t, manager, fields(t, web))
	if healed, _ := baseline.Of(c.live(t), manager); healed != before {
		t.Error("Of(...) after applying again is not what it was")
	}
}

func TestOfNothingApplied(t *testing.T) {
	t.Parallel()
	c := newCluster(deployment)
	c.apply(t, "helm", fields(t, web))
	c.update(t, manager, set(t, int64(7), "spec", "replicas"))
	if _, ok := baseline.Of(c.live(t), manager); ok {
		t.Error("Of(...): an Update entry of ours counts as applied")
	}
	if _, ok := baseline.Of(&unstructured.Unstructured{Object: map[string]any{}}, manager); ok {
		t.Error("Of(empty): want nothing applied")
	}
}

func TestOfOnlyReads(t *testing.T) {
	t.Parallel()
	c := newCluster(deployment)
	c.apply(t, manager, fields(t, web))
	live := c.live(t)
	want := runtime.DeepCopyJSON(live.Object)
	baseline.Of(live, manager)
	if diff := cmp.Diff(want, live.Object); diff != "" {
		t.Errorf("Of(...) changed the object: -want, +got\n%s", diff)
	}
}

// Digests are kept in the cluster: another form of them makes every object look
// drifted once after an upgrade.
func TestOfIsStable(t *testing.T) {
	t.Parallel()
	const object = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","managedFields":[{
		"manager":"tandem-synchronizer","operation":"Apply","fieldsType":"FieldsV1","fieldsV1":{
		"f:data":{"f:n":{},"f:t":{}},"f:x":{"k:{\"name\":\"a\"}":{".":{},"f:y":{}},"v:1.5":{},"i:0":{}}}}]},
		"data":{"n":null,"t":"text"},"x":[{"name":"a","y":[true,false,-1,1.5,{"k":"v"}]},1.5]}`
	const want = "96ea02e0ac641ec862c4dcd4e2f2b90171754441b28ef1bf5f4ec235fcd7b885"
	live := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(object), &live.Object); err != nil {
		t.Fatal(err)
	}
	digest, _ := baseline.Of(live, manager)
	if got := hex.EncodeToString(digest[:]); got != want {
		t.Errorf("Of(...): %s, want %s", got, want)
	}
}

func TestWriters(t *testing.T) {
	t.Parallel()
	entry := func(name, at, subresource string) any {
		entry := map[string]any{"manager": name, "time": at, "operation": "Update"}
		if subresource != "" {
			entry["subresource"] = subresource
		}
		return entry
	}
	live := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"managedFields": []any{
		entry("old", "2026-01-01T00:00:00Z", ""),
		entry(manager, "2026-01-04T00:00:00Z", ""),
		entry("new", "2026-01-03T00:00:00Z", ""),
		entry("controller", "2026-01-05T00:00:00Z", "status"),
		entry("middle", "2026-01-02T00:00:00Z", ""),
	}}}}
	want := []string{"new", "middle", "old"}
	if got := baseline.Writers(live, manager); !slices.Equal(got, want) {
		t.Errorf("Writers(...): %q, want %q", got, want)
	}
}
