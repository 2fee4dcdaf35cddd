package baseline_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
)

// shown is a difference in one line.
func shown(differences []baseline.Difference) []string {
	lines := []string{}
	for _, d := range differences {
		line := strings.Join(d.Path, " ")
		switch {
		case d.FoundAbsent:
			line += " missing"
		case d.WantAbsent:
			line += " there"
		case d.Taken():
			line += " taken"
		}
		lines = append(lines, line)
	}
	return lines
}

func TestCompare(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		change func(fields map[string]any) // by another manager
		want   []string
	}{
		"Nothing":     {"an update that changes nothing", func(map[string]any) {}, []string{}},
		"Scalar":      {"a value of ours", set(t, int64(5), "spec", "replicas"), []string{"f:spec f:replicas"}},
		"OtherField":  {"a field that we never set", set(t, true, "spec", "paused"), []string{}},
		"AtomicMap":   {"an atomic map is one difference", set(t, "b", "spec", "selector", "matchLabels", "a"), []string{"f:spec f:selector"}},
		"OtherInItem": {"others may add to an item of ours", eachContainer(t, func(c map[string]any) { c["tty"] = true }), []string{}},
		"Image": {"below the items of an associative list", eachContainer(t, func(c map[string]any) { c["image"] = "evil:1" }), []string{
			`f:spec f:template f:spec f:containers k:{"name":"app"} f:image`, `f:spec f:template f:spec f:containers k:{"name":"log"} f:image`,
		}},
		"EmptyMap":     {"an empty map of ours that others fill in", eachContainer(t, func(c map[string]any) { c["resources"] = map[string]any{"limits": map[string]any{"cpu": "1"}} }), []string{}},
		"RemovedField": {"a value of ours is gone", func(f map[string]any) { unstructured.RemoveNestedField(f, "spec", "replicas") }, []string{"f:spec f:replicas missing"}},
		"RemovedItem": {"an item that is gone is one difference", func(f map[string]any) {
			set(t, []any{container(f, 0)}, "spec", "template", "spec", "containers")(f)
		}, []string{`f:spec f:template f:spec f:containers k:{"name":"log"} missing`}},
		"RemovedMember": {"a member of a set is gone", set(t, []any{"example.com/b"}, "metadata", "finalizers"), []string{`f:metadata f:finalizers v:"example.com/a" missing`}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(deployment)
			c.apply(t, manager, fields(t, web))
			healthy := c.live(t)
			c.update(t, "kubectl-edit", tc.change)
			if diff := cmp.Diff(tc.want, shown(baseline.Compare(c.live(t), healthy, manager))); diff != "" {
				t.Errorf("%s: Compare(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// Whoever takes a path over with the value that it has changes no value, and who decides about it.
func TestCompareShowsWhatWasTaken(t *testing.T) {
	t.Parallel()
	c := newCluster(deployment)
	c.apply(t, manager, fields(t, web))
	healthy := c.live(t)
	c.update(t, "kubectl-edit", set(t, int64(5), "spec", "replicas"))
	c.update(t, "kubectl-edit", set(t, int64(2), "spec", "replicas"))
	taken := c.live(t)
	if diff := cmp.Diff([]string{"f:spec f:replicas taken"}, shown(baseline.Compare(taken, healthy, manager))); diff != "" {
		t.Errorf("Compare(...): -want, +got:\n%s", diff)
	}
	if got := shown(baseline.Compare(healthy, taken, manager)); len(got) != 0 {
		t.Errorf("what we have given up ourselves: got %q", got)
	}
}

// What differs is what makes digests differ, whoever changed what.
func TestCompareAgreesWithDigests(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := draw(t, rt)
		before, _ := baseline.Of(d.live, manager)
		changed := d.live.DeepCopy()
		if !mutate(changed.Object, rapid.SampledFrom(d.leaves).Draw(rt, "path")) {
			rt.Skip("nothing to change at an empty value")
		}
		after, _ := baseline.Of(changed, manager)
		if differences := baseline.Compare(changed, d.live, manager); (before != after) != (len(differences) > 0) {
			rt.Fatalf("digest changed: %t, differences: %q", before != after, shown(differences))
		}
	})
}

func TestAuthorOf(t *testing.T) {
	t.Parallel()
	entry := func(name, at, operation, subresource string, fields map[string]any) any {
		e := map[string]any{"manager": name, "time": at, "operation": operation, "fieldsV1": fields}
		if subresource != "" {
			e["subresource"] = subresource
		}
		return e
	}
	replicas := map[string]any{"f:spec": map[string]any{"f:replicas": map[string]any{}}}
	whole := map[string]any{"f:spec": map[string]any{}}
	other := map[string]any{"f:data": map[string]any{}}
	path := []string{"f:spec", "f:replicas"}
	cases := map[string]struct {
		reason  string
		entries []any
		want    baseline.Author
	}{
		"Owner": {
			"who owns it, not who wrote last",
			[]any{
				entry("hpa", "2026-01-01T00:00:00Z", "Update", "scale", replicas), entry("kubectl", "2026-01-02T00:00:00Z", "Update", "", other),
			},
			baseline.Author{Manager: "hpa", Operation: "Update", Subresource: "scale", Time: "2026-01-01T00:00:00Z", Owns: true},
		},
		"Latest": {
			"of several owners the most recent",
			[]any{
				entry("old", "2026-01-01T00:00:00Z", "Apply", "", replicas), entry("new", "2026-01-02T00:00:00Z", "Update", "", replicas), entry(manager, "2026-01-03T00:00:00Z", "Apply", "", replicas),
			},
			baseline.Author{Manager: "new", Operation: "Update", Time: "2026-01-02T00:00:00Z", Owns: true},
		},
		"Above": {
			"who owns the value that it is part of",
			[]any{entry("one", "2026-01-01T00:00:00Z", "Apply", "", whole)},
			baseline.Author{Manager: "one", Operation: "Apply", Time: "2026-01-01T00:00:00Z", Owns: true},
		},
		"Nobody": {
			"what was removed is put down to the last writer of the object, not of its status",
			[]any{
				entry("old", "2026-01-01T00:00:00Z", "Update", "", other), entry("kubectl", "2026-01-02T00:00:00Z", "Update", "", other), entry("controller", "2026-01-03T00:00:00Z", "Update", "status", other),
			},
			baseline.Author{Manager: "kubectl", Operation: "Update", Time: "2026-01-02T00:00:00Z"},
		},
		"Ours": {"nobody else has written", []any{entry(manager, "2026-01-03T00:00:00Z", "Apply", "", other)}, baseline.Author{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"managedFields": tc.entries}}}
			got, ok := baseline.AuthorOf(live, path, manager)
			if got != tc.want || ok != (tc.want != baseline.Author{}) {
				t.Errorf("%s: AuthorOf(...): got %+v, %t, want %+v", tc.reason, got, ok, tc.want)
			}
		})
	}
}

func TestRewritten(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		change func(fields map[string]any) // by admission
		want   []string
	}{
		"Nothing": {"it is what was sent", func(map[string]any) {}, []string{}},
		"Value":   {"another image", eachContainer(t, func(c map[string]any) { c["image"] = "mirror/app:1" }), []string{`f:spec f:template f:spec f:containers k:{"name":"app"} f:image`, `f:spec f:template f:spec f:containers k:{"name":"log"} f:image`}},
		"Added":   {"what nobody sent is not rewritten", set(t, "b", "metadata", "labels", "a"), []string{}},
		"Default": {"a default in an atomic list", set(t, []any{map[string]any{"key": "a", "operator": "Equal"}, map[string]any{"key": "b"}}, "spec", "template", "spec", "tolerations"), []string{}},
		"Item":    {"another item in an atomic list", set(t, []any{map[string]any{"key": "a"}}, "spec", "template", "spec", "tolerations"), []string{"f:spec f:template f:spec f:tolerations"}},
		"Removed": {"what was sent is gone", func(f map[string]any) { unstructured.RemoveNestedField(f, "spec", "replicas") }, []string{"f:spec f:replicas missing"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(deployment)
			c.apply(t, manager, fields(t, web))
			answer := c.live(t)
			tc.change(answer.Object)
			desired := &unstructured.Unstructured{Object: fields(t, web)}
			if diff := cmp.Diff(tc.want, shown(baseline.Rewritten(desired, answer, manager))); diff != "" {
				t.Errorf("%s: Rewritten(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRewrittenKnowsOtherSpellings(t *testing.T) {
	t.Parallel()
	one := func(value any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"a": value}, "metadata": map[string]any{"managedFields": []any{
			map[string]any{"manager": manager, "operation": "Apply", "fieldsV1": map[string]any{"f:spec": map[string]any{"f:a": map[string]any{}}}},
		}}}}
	}
	for _, tc := range []struct {
		sent, answered any
		differ         bool
	}{
		{"1000m", "1", false}, {int64(80), "80", false}, {int64(1), float64(1), false}, {"1", "2", true}, {"a", "b", true}, {map[string]any{}, nil, false},
	} {
		if got := len(baseline.Rewritten(one(tc.sent), one(tc.answered), manager)) > 0; got != tc.differ {
			t.Errorf("Rewritten(%v, %v): differs: %t, want %t", tc.sent, tc.answered, got, tc.differ)
		}
	}
}

// Path sets and values come from an API server that anybody may write to.
func FuzzCompare(f *testing.F) {
	f.Add(`{"metadata":{"managedFields":[{"manager":"tandem-synchronizer","operation":"Apply","fieldsV1":{"f:a":{"k:{\"n\":1}":{".":{}},"v:1":{},"i:0":{},"z":{}}}}]},"a":[{"n":1},1]}`,
		`{"metadata":{"managedFields":[{"manager":"tandem-synchronizer","operation":"Apply","fieldsV1":{"f:a":{"f:b":{}}}},{"manager":"x","fieldsV1":{"f:a":[]}}]},"a":{"b":{}}}`)
	f.Fuzz(func(t *testing.T, one, two string) {
		found, want := decoded(one), decoded(two)
		for _, d := range baseline.Compare(found, want, manager) {
			if d.FoundAbsent && d.WantAbsent || len(d.Path) == 0 {
				t.Errorf("Compare(%s, %s): %+v", one, two, d)
			}
			baseline.AuthorOf(found, d.Path, manager)
		}
		if same := baseline.Compare(found, found, manager); len(same) > 0 {
			t.Errorf("Compare(%s) with itself: %q", one, shown(same))
		}
		baseline.Rewritten(found, want, manager)
	})
}

func decoded(text string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	_ = json.Unmarshal([]byte(text), &object.Object) // what is no object is an empty one
	return object
}
