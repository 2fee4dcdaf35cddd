package render

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// annotated is a ConfigMap, or a Job, with one annotation.
func annotated(kind, name, value string) string {
	version := map[string]string{"ConfigMap": "v1", "Job": "batch/v1"}[kind]
	return "apiVersion: " + version + "\nkind: " + kind + "\nmetadata:\n  name: a\n  annotations:\n    " + name + ": '" + value + "'\n"
}

func everyKind(schema.GroupVersionKind) (bool, error) { return true, nil }

func TestPolicy(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		file    string
		want    Policy
		problem string // a part of it
	}{
		"None":     {reason: "Nothing is asked for.", file: configMap("a")},
		"Wave":     {reason: "Waves may be negative.", file: annotated("ConfigMap", "tandem.dev/wave", "-5"), want: Policy{Wave: -5}},
		"WaveFar":  {reason: "The waves of hooks are out of reach.", file: annotated("ConfigMap", "tandem.dev/wave", "1001"), problem: `a.yaml:6: the annotation tandem.dev/wave: "1001" is no whole number`},
		"WaveText": {reason: "A word is no number.", file: annotated("ConfigMap", "tandem.dev/wave", "last"), problem: "is no whole number"},
		"Apply":    {reason: "It is one of the policies.", file: annotated("ConfigMap", "tandem.dev/apply", "skip"), want: Policy{Apply: v1alpha1.ApplySkip}},
		"Unknown":  {reason: "The values are listed.", file: annotated("ConfigMap", "tandem.dev/apply", "Skip"), problem: "is none of merge, replace, recreate, create-only, skip"},
		"Prune":    {reason: "A slip must not remove what was to stay.", file: annotated("ConfigMap", "tandem.dev/prune", "never"), problem: "is none of keep, confirm"},
		"Drift":    {reason: "It goes before what the Sync says.", file: annotated("ConfigMap", "tandem.dev/drift", "report"), want: Policy{Drift: v1alpha1.DriftReport}},
		"DriftNot": {reason: "Flux's word is not ours.", file: annotated("ConfigMap", "tandem.dev/drift", "warn"), problem: `a.yaml:6: the annotation tandem.dev/drift: "warn" is none of heal, report, ignore`},
		"Hook":     {reason: "It goes before every wave.", file: annotated("Job", "tandem.dev/hook", "pre-sync"), want: Policy{Hook: v1alpha1.HookPreSync, Wave: PreSyncWave}},
		"HookKind": {reason: "Only a Job runs and ends.", file: annotated("ConfigMap", "tandem.dev/hook", "post-sync"), problem: "only a Job"},
		"HookWord": {reason: "Argo's words are not ours.", file: annotated("Job", "tandem.dev/hook", "PreSync"), problem: "is none of pre-sync, post-sync, on-failure"},
		"Ignore": {
			reason: "Pointers are unescaped.", file: annotated("ConfigMap", "tandem.dev/ignore", "/data/a~1b, /metadata/labels/x~0y"),
			want: Policy{Ignore: [][]string{{"data", "a/b"}, {"metadata", "labels", "x~y"}}},
		},
		"IgnoreName":   {reason: "Without it nobody knows the object.", file: annotated("ConfigMap", "tandem.dev/ignore", "/metadata"), problem: "by which the object is known"},
		"IgnoreText":   {reason: "A path in dots is no pointer.", file: annotated("ConfigMap", "tandem.dev/ignore", "data.a"), problem: "is no list of JSON pointers"},
		"IgnoreNobody": {reason: "An empty list is a slip.", file: annotated("ConfigMap", "tandem.dev/ignore", ""), problem: "is no list of JSON pointers"},
		"IgnoreMany":   {reason: "The list is bounded.", file: annotated("ConfigMap", "tandem.dev/ignore", strings.Repeat("/a,", 16)+"/a"), problem: "lists more than 16"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			git := &memory{}
			got, err := Tree(t.Context(), git, git.add(t, map[string]string{"app/a.yaml": tc.file}), "app", nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.problem != "" {
				if len(got.Objects) != 0 || len(got.Problems) != 1 || !strings.Contains(got.Problems[0].String(), tc.problem) {
					t.Errorf("%s: got %s, want a problem that says %q", tc.reason, rendered(got), tc.problem)
				}
				return
			}
			if len(got.Objects) != 1 {
				t.Fatalf("got %s, want one object", rendered(got))
			}
			if diff := cmp.Diff(tc.want, got.Objects[0].Policy); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestReplicasAreLeftToAnAutoscaler(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"app/web.yaml":   "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, annotations: {tandem.dev/ignore: /spec/paused}}\nspec: {replicas: 2}\n",
		"app/other.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}\nspec: {replicas: 2}\n",
		"app/hpa.yaml": "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\n" +
			"spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 5}\n",
	}
	git := &memory{}
	got, err := Tree(t.Context(), git, git.add(t, files), "app", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = got.Resolve("shop", everyKind); err != nil {
		t.Fatal(err)
	}
	ignored := map[string][][]string{}
	for _, d := range got.Objects {
		ignored[d.Key.String()] = d.Policy.Ignore
	}
	want := map[string][][]string{
		"Deployment/shop/web": {{"spec", "paused"}, {"spec", "replicas"}}, "Deployment/shop/other": nil, "HorizontalPodAutoscaler/shop/web": nil,
	}
	if diff := cmp.Diff(want, ignored); diff != "" {
		t.Errorf("ignored: -want, +got:\n%s", diff)
	}
}

// Annotations are whatever somebody wrote: an object either has a policy within its bounds, or a problem.
func FuzzPolicy(f *testing.F) {
	f.Add(v1alpha1.AnnotationApply, "recreate", v1alpha1.AnnotationWave, "-3")
	f.Add(v1alpha1.AnnotationIgnore, "/spec/replicas,/metadata/labels/a~1b~0", v1alpha1.AnnotationDrift, "report")
	f.Add(v1alpha1.AnnotationHook, "pre-sync", v1alpha1.AnnotationPrune, "confirm")
	f.Add(v1alpha1.AnnotationWave, "99999999999999999999", v1alpha1.AnnotationIgnore, "//,/")
	f.Fuzz(func(t *testing.T, one, first, two, second string) {
		content, err := json.Marshal(map[string]any{
			"apiVersion": "batch/v1", "kind": "Job",
			"metadata": map[string]any{"name": "a", "annotations": map[string]any{one: first, two: second}},
		})
		if err != nil {
			t.Fatal(err)
		}
		objects, problems := File("a.json", content)
		if len(objects)+len(problems) != 1 {
			t.Fatalf("%d objects and %d problems of one object", len(objects), len(problems))
		}
		for _, d := range objects {
			p := d.Policy
			if p.Wave < PreSyncWave || p.Wave > PostSyncWave || len(p.Ignore) > v1alpha1.MaxIgnored ||
				p.Apply != "" && !slices.Contains(v1alpha1.ApplyPolicies(), p.Apply) || p.Hook != "" && !slices.Contains(v1alpha1.Hooks(), p.Hook) {
				t.Errorf("policy %+v", p)
			}
			for _, path := range p.Ignore {
				if len(path) == 0 || slices.Contains(path, "") {
					t.Errorf("leaves %q to others", path)
				}
			}
		}
	})
}
