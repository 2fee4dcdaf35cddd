package compare

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	if text == "" {
		return nil
	}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u.Object
}

const head = "apiVersion: v1\nkind: ConfigMap\n"

func TestFields(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason        string
		before, after string
		want          []Field
	}{
		"Equal": {"Nothing differs.", head + "data: {a: x}", head + "data: {a: x}", nil},
		"ServerFields": {
			"What the API server keeps, and our marks, say nothing.",
			head + "metadata: {name: a, uid: u, resourceVersion: '1', generation: 1, managedFields: [{manager: x}], labels: {tandem.dev/sync: s}}\nstatus: {a: 1}",
			head + "metadata: {name: a, uid: v, resourceVersion: '2', creationTimestamp: now, annotations: {tandem.dev/owner: x}}\nstatus: {a: 2}", nil,
		},
		"Changed": {
			"Values are JSON.", head + "data: {a: x, b: '1'}\nm: 1", head + "data: {a: z2, b: '1'}\nm: 2",
			[]Field{{"data.a", `"x"`, `"z2"`}, {"m", "1", "2"}},
		},
		"AddedAndRemoved": {
			"An empty text is no value, which an empty value is not.", head + "data: {a: ''}", head + "data: {b: {c: 1}}",
			[]Field{{"data.a", `""`, ""}, {"data.b", "", `{"c":1}`}},
		},
		"Quoted": {"A name with dots is one name.", head + "data: {a.b/c: x}", head + "data: {a.b/c: z2}", []Field{{`data["a.b/c"]`, `"x"`, `"z2"`}}},
		"ByName": {
			"Items of lists are found by name.", head + "l: [{name: a, v: 1}, {name: b, v: 2}]", head + "l: [{name: b, v: 3}, {name: c}]",
			[]Field{{"l[name=b].v", "2", "3"}, {"l[name=c]", "", `{"name":"c"}`}, {"l[name=a]", `{"name":"a","v":1}`, ""}},
		},
		"ByIndex": {"Others by index.", head + "l: [1, 2]", head + "l: [1, 3, 4]", []Field{{"l[1]", "2", "3"}, {"l[2]", "", "4"}}},
		"Order": {
			"It counts where items are found by name, too.", head + "l: [{name: a}, {name: b}, {name: c}]", head + "l: [{name: b}, {name: d}, {name: a}]",
			[]Field{{"l[name=d]", "", `{"name":"d"}`}, {"l[name=c]", `{"name":"c"}`, ""}, {"l", `["a","b"]`, `["b","a"]`}},
		},
		"Large":   {"They are numbers, and not nearly so.", head + "m: 9007199254740993", head + "m: 9007199254740992", []Field{{"m", "9007199254740993", "9007199254740992"}}},
		"Numbers": {"1.0 is 1.", head + "m: 1.0", head + "m: 1", nil},
		"Types":   {"1 is not a text.", head + "m: 1", head + "m: '1'", []Field{{"m", "1", `"1"`}}},
		"Made":    {"What is not there has no fields that differ.", "", head + "data: {a: x}", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, Objects(parse(t, tc.before), parse(t, tc.after)).Fields); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	got := Objects(parse(t, head+"data: {a: x, b: z}"), parse(t, head+"data: {a: z2, b: z}")).Diff
	want := "--- cluster\n+++ git\n@@ -1,5 +1,5 @@\n apiVersion: v1\n data:\n-  a: x\n+  a: z2\n   b: z\n kind: ConfigMap\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if made := Objects(nil, parse(t, head)).Diff; !strings.Contains(made, "+kind: ConfigMap\n") || strings.Contains(made, "\n-") {
		t.Errorf("made anew:\n%s", made)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	before, after := map[string]any{}, map[string]any{}
	for i := range MaxFields + 7 {
		before[strings.Repeat("k", i+1)] = strings.Repeat("é", MaxDiff)
	}
	got := Objects(
		map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": before},
		map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": after, strings.Repeat("n", 2*MaxPath): 1.5},
	)
	if len(got.Fields) != MaxFields || got.Omitted != 8 {
		t.Errorf("%d fields and %d omitted", len(got.Fields), got.Omitted)
	}
	for _, f := range got.Fields {
		if len(f.Path) > MaxPath || len(f.Before) > MaxValue || strings.ToValidUTF8(f.Before, "") != f.Before {
			t.Errorf("field %q: %q", f.Path, f.Before)
		}
	}
	const note = 40
	if len(got.Diff) > MaxDiff+note || !strings.Contains(got.Diff, " bytes more)") {
		t.Errorf("a difference of %d bytes that ends in %q", len(got.Diff), got.Diff[len(got.Diff)-note:])
	}
}

const token = "hunter2"

func TestSecretsAreMasked(t *testing.T) {
	t.Parallel()
	const secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
	cases := map[string]struct {
		reason        string
		before, after string
		want          []Field
	}{
		"Data": {
			"Names are shown, and whether values are the same.", secret + "data: {a: hunter2, b: hunter2}", secret + "data: {a: hunter2, b: hunter2x}",
			[]Field{{"data.b", `"(secret)"`, `"(secret, another value)"`}},
		},
		"StringData": {"Whatever the field.", secret, secret + "stringData: {a: hunter2}", []Field{{"stringData", "", `{"a":"(secret)"}`}}},
		"LastApplied": {
			"kubectl keeps a copy.", secret + `metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"a":"hunter2"}}'}}`, secret,
			[]Field{{"metadata.annotations", `{"kubectl.kubernetes.io/last-applied-configuration":"(secret)"}`, ""}, {"metadata.name", "", `"s"`}},
		},
		"AnyAnnotation": {
			"So do others.", secret + `metadata: {name: s, annotations: {tool: hunter2, tandem.dev/wave: "1"}}`, secret + `metadata: {name: s, annotations: {tool: hunter22, tandem.dev/wave: "2"}}`,
			[]Field{{`metadata.annotations["tandem.dev/wave"]`, `"1"`, `"2"`}, {"metadata.annotations.tool", `"(secret)"`, `"(secret, another value)"`}},
		},
		"Misspelt": {"A field that no Secret has.", secret + "dta: {a: hunter2}", secret, []Field{{"dta", `"(secret)"`, ""}}},
		"Malformed": {"No map.", secret + "data: hunter2\ntype: [hunter2]\nimmutable: hunter2", secret, []Field{
			{"data", `"(secret)"`, ""}, {"immutable", `"(secret)"`, ""}, {"type", `"(secret)"`, ""},
		}},
		"OtherGroup": {"Whatever calls itself a Secret.", "apiVersion: x.dev/v1\nkind: Secret\nspec: {a: hunter2}", "apiVersion: x.dev/v1\nkind: Secret", []Field{{"spec", `"(secret)"`, ""}}},
		"NoKind":     {"What does not say what it is.", "kind: ConfigMap\ndata: {a: hunter2}", "kind: ConfigMap", []Field{{"data", `{"a":"(secret)"}`, ""}}},
		"Template": {
			"A Secret that is written out in something else.", "apiVersion: x/v1\nkind: Template\nobjects: [{kind: Secret, data: {a: hunter2}}]", "apiVersion: x/v1\nkind: Template",
			[]Field{{"objects", `"(secret)"`, ""}},
		},
		"CopyElsewhere": {
			"A last applied state on something else.", head + `metadata: {annotations: {other.dev/last-applied: 'hunter2'}}`, head,
			[]Field{{"metadata", `{"annotations":{"other.dev/last-applied":"(secret)"}}`, ""}},
		},
		"Reference": {
			"Naming one gives nothing away.", "apiVersion: x/v1\nkind: A\nref: {kind: Secret, name: s}", "apiVersion: x/v1\nkind: A\nref: {kind: Secret, name: t}",
			[]Field{{"ref.name", `"s"`, `"t"`}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, after := object(t, tc.before), object(t, tc.after)
			got := Objects(before, after)
			if diff := cmp.Diff(tc.want, got.Fields); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			for what, d := range map[string]Difference{"the same": got, "made": Objects(nil, before), "gone": Objects(before, nil)} {
				if strings.Contains(d.Diff, token) {
					t.Errorf("%s: shown when %s:\n%s", tc.reason, what, d.Diff)
				}
			}
		})
	}
}

// object reads what no client would take for an object.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNarrow(t *testing.T) {
	t.Parallel()
	live := parse(t, head+"spec: {a: 1, added: 2, l: [{name: x, v: 1, added: 2}, {name: w}], plain: [1, 2]}")
	named := parse(t, head+"spec: {a: 3, new: 1, l: [{name: x, v: 2}], plain: [1]}")
	want := parse(t, head+"spec: {a: 1, l: [{name: x, v: 1}, {name: w}], plain: [1, 2]}")
	if diff := cmp.Diff(any(want), Narrow(live, named)); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	const text = head + "metadata: {name: a, labels: {tandem.dev/sync: s}, managedFields: [{manager: m, operation: Apply, time: t1, fieldsV1: {f:data: {}}}, {manager: k, subresource: status}]}\ndata: {a: x}\n"
	digest := func(text string) [32]byte { return Digest(&unstructured.Unstructured{Object: parse(t, text)}) }
	cases := map[string]struct {
		old, replacement string
		same             bool
	}{
		"Time":    {"t1", "t2", true},
		"Status":  {"data: {a", "status: {a: 1}\ndata: {a", true},
		"Version": {"name: a", "name: a, resourceVersion: '2', generation: 3", true},
		"Data":    {"a: x", "a: z", false},
		"Label":   {"sync: s", "sync: other", false},
		"Manager": {"manager: m", "manager: n", false},
		"Fields":  {"f:data", "f:binaryData", false},
		"Leaving": {"name: a", "name: a, deletionTimestamp: '2026-01-01T00:00:00Z'", false},
		"Another": {"name: a", "name: a, uid: other", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := strings.Replace(text, tc.old, tc.replacement, 1)
			if changed == text {
				t.Fatal("nothing was replaced")
			}
			if same := digest(text) == digest(changed); same != tc.same {
				t.Errorf("the same digest: %v", same)
			}
		})
	}
}
