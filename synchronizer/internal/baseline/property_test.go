package baseline_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
)

// drawn is a live Deployment of several managers and the paths that are ours.
type drawn struct {
	live   *unstructured.Unstructured
	leaves []fieldpath.Path // of the whole object
	ours   *fieldpath.Set
}

func draw(tb testing.TB, t *rapid.T) drawn {
	tb.Helper()
	c := newCluster(deployment)
	c.apply(tb, manager, drawFields(t, "ours"))
	for i := range rapid.IntRange(0, 2).Draw(t, "others") {
		c.apply(tb, fmt.Sprint("other-", i), drawFields(t, fmt.Sprint("other ", i)))
	}
	d := drawn{live: c.live(tb), ours: &fieldpath.Set{}}
	for _, entry := range c.ManagedFields() {
		if entry.Manager == manager {
			if err := d.ours.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.leaves = leavesOf(t, d.live)
	return d
}

func drawFields(t *rapid.T, label string) map[string]any {
	text := rapid.SampledFrom([]string{"a", "b", "c", `q"\`, "é"})
	texts := func(label string) map[string]any {
		fields := map[string]any{}
		for key, value := range rapid.MapOfN(text, text, 0, 3).Draw(t, label) {
			fields[key] = value
		}
		return fields
	}
	spec := map[string]any{"nodeSelector": texts(label + " selector"), "containers": drawContainers(t, label, texts)}
	object := map[string]any{
		"metadata": map[string]any{"name": "web", "labels": texts(label + " labels"), "finalizers": drawFinalizers(t, label)},
		"spec":     map[string]any{"template": map[string]any{"spec": spec}},
	}
	if rapid.Bool().Draw(t, label+" has replicas") {
		object["spec"].(map[string]any)["replicas"] = rapid.Int64Range(0, 9).Draw(t, label+" replicas")
	}
	if rapid.Bool().Draw(t, label+" has tolerations") {
		spec["tolerations"] = []any{map[string]any{"key": "a", "value": text.Draw(t, label+" toleration")}, map[string]any{"key": "b"}}
	}
	return object
}

func drawFinalizers(t *rapid.T, label string) []any {
	list := []any{}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x/a", "x/b", "x/c"}), 0, 2, rapid.ID).Draw(t, label+" finalizers") {
		list = append(list, name)
	}
	return list
}

func drawContainers(t *rapid.T, label string, texts func(string) map[string]any) []any {
	list := []any{}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"app", "log", `m"`}), 1, 3, rapid.ID).Draw(t, label+" containers") {
		env := []any{}
		for key, value := range texts(label + " env") {
			env = append(env, map[string]any{"name": key, "value": value})
		}
		ports := []any{}
		for _, port := range rapid.SliceOfNDistinct(rapid.Int64Range(1, 4), 0, 2, rapid.ID).Draw(t, label+" ports") {
			ports = append(ports, map[string]any{"containerPort": port, "protocol": "TCP"})
		}
		list = append(list, map[string]any{"name": name, "image": name + ":1", "env": env, "ports": ports})
	}
	return list
}

// leavesOf lists every path of an object that somebody could own.
func leavesOf(t *rapid.T, live *unstructured.Unstructured) []fieldpath.Path {
	bare := live.DeepCopy()
	bare.SetManagedFields(nil)
	object, err := converter.ObjectToTyped(bare)
	if err != nil {
		t.Fatal(err)
	}
	set, err := object.ToFieldSet()
	if err != nil {
		t.Fatal(err)
	}
	var leaves []fieldpath.Path
	set.Leaves().Iterate(func(path fieldpath.Path) {
		// The kind, the name and the keys of items are who an object is, not what is in it.
		switch text := path.String(); {
		case text == ".apiVersion", text == ".kind", text == ".metadata.name":
		case isKey(path):
		default:
			leaves = append(leaves, path.Copy())
		}
	})
	return leaves
}

func isKey(path fieldpath.Path) bool {
	if len(path) < 2 || path[len(path)-2].Key == nil {
		return false
	}
	for _, key := range *path[len(path)-2].Key {
		if path[len(path)-1].FieldName != nil && key.Name == *path[len(path)-1].FieldName {
			return true
		}
	}
	return false
}

func TestOfChangesWithOwnedValuesOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := draw(t, rt)
		before, _ := baseline.Of(d.live, manager)
		path := rapid.SampledFrom(d.leaves).Draw(rt, "path")
		changed := d.live.DeepCopy()
		if !mutate(changed.Object, path) {
			rt.Skip("nothing to change at an empty value")
		}
		after, _ := baseline.Of(changed, manager)
		if owned := d.ours.Has(path); (before != after) != owned {
			rt.Fatalf("changing %s, ours: %t: digest changed: %t", path, owned, before != after)
		}
	})
}

func TestOfChangesWithThePathSet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := draw(t, rt)
		before, _ := baseline.Of(d.live, manager)
		var paths []fieldpath.Path
		d.ours.Iterate(func(path fieldpath.Path) { paths = append(paths, path.Copy()) })
		lost := rapid.SampledFrom(paths).Draw(rt, "lost")
		fewer := d.live.DeepCopy()
		setEntry(rt, fewer, d.ours.Difference(fieldpath.NewSet(lost)))
		if after, _ := baseline.Of(fewer, manager); before == after {
			rt.Fatalf("losing %s does not change the digest", lost)
		}
	})
}

func TestOfIgnoresOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := draw(t, rt)
		before, _ := baseline.Of(d.live, manager)
		shuffled := d.live.DeepCopy()
		shuffle := func(list any, path string) []any { return rapid.Permutation(list.([]any)).Draw(rt, path) }
		metadata := shuffled.Object["metadata"].(map[string]any)
		metadata["managedFields"] = shuffle(metadata["managedFields"], "managedFields")
		if list, ok := metadata["finalizers"]; ok {
			metadata["finalizers"] = shuffle(list, "finalizers")
		}
		spec := shuffled.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
		spec["containers"] = shuffle(spec["containers"], "containers")
		for _, item := range spec["containers"].([]any) {
			container := item.(map[string]any)
			for _, name := range []string{"env", "ports"} {
				if list, ok := container[name]; ok {
					container[name] = shuffle(list, name)
				}
			}
		}
		if after, _ := baseline.Of(shuffled, manager); before != after {
			rt.Fatal("another order of items changes the digest")
		}
	})
}

func setEntry(t *rapid.T, live *unstructured.Unstructured, set *fieldpath.Set) {
	text, err := set.ToJSON()
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	list, _, _ := unstructured.NestedSlice(live.Object, "metadata", "managedFields")
	for _, item := range list {
		if entry := item.(map[string]any); entry["manager"] == manager {
			entry["fieldsV1"] = fields
		}
	}
	if err := unstructured.SetNestedSlice(live.Object, list, "metadata", "managedFields"); err != nil {
		t.Fatal(err)
	}
}

// mutate changes the value at a path, and says whether there was one to change.
func mutate(parent any, path fieldpath.Path) bool {
	at, last := path[0], len(path) == 1
	switch parent := parent.(type) {
	case map[string]any:
		if last {
			parent[*at.FieldName] = other(parent[*at.FieldName])
			return true
		}
		return mutate(parent[*at.FieldName], path[1:])
	case []any:
		for i, item := range parent {
			if !names(at, item) {
				continue
			}
			if last {
				parent[i] = other(item)
				return at.Value != nil // an item of keys and nothing else holds no value
			}
			return mutate(item, path[1:])
		}
	}
	return false
}

func names(at fieldpath.PathElement, item any) bool {
	if at.Value != nil {
		return value.Equals(*at.Value, value.NewValueInterface(item))
	}
	for _, key := range *at.Key {
		if !value.Equals(key.Value, value.NewValueInterface(item.(map[string]any)[key.Name])) {
			return false
		}
	}
	return true
}

// other returns a different value of the same shape.
func other(v any) any {
	switch v := v.(type) {
	case string:
		return v + "!"
	case int64:
		return v + 1
	case []any:
		return append(slices.Clip(v), "more")
	case map[string]any:
		wider := runtime.DeepCopyJSON(v)
		wider["more"] = "more"
		return wider
	default:
		return "changed"
	}
}
