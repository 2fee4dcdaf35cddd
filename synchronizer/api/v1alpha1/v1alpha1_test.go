package v1alpha1

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

func TestDeployedCRDIsThisOne(t *testing.T) {
	t.Parallel()
	const path = "../../../deploy/crds/syncs.tandem.dev.yaml"
	deployed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(CRD), string(deployed)); diff != "" {
		t.Errorf("copy synchronizer/api/v1alpha1/crd.yaml to deploy/crds/syncs.tandem.dev.yaml:\n%s", diff)
	}
}

type crdNode struct {
	Type                 string             `json:"type"`
	Description          string             `json:"description"`
	Properties           map[string]crdNode `json:"properties"`
	Items                *crdNode           `json:"items"`
	AdditionalProperties *crdNode           `json:"additionalProperties"`
}

func crdSchema(t *testing.T) crdNode {
	t.Helper()
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema crdNode `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(CRD, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

func TestSchemaAndTypesNameTheSameFields(t *testing.T) {
	t.Parallel()
	root := crdSchema(t)
	compare(t, "spec", reflect.TypeFor[Spec](), root.Properties["spec"])
	compare(t, "status", reflect.TypeFor[Status](), root.Properties["status"])
}

// compare walks a Go type and a schema side by side.
func compare(t *testing.T, at string, typ reflect.Type, s crdNode) {
	t.Helper()
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch {
	case s.Type == "array":
		compare(t, at+"[]", typ.Elem(), *s.Items)
	case s.AdditionalProperties != nil:
		compare(t, at+"{}", typ.Elem(), *s.AdditionalProperties)
	case s.Type == "object":
		if s.Description == "" && !strings.HasSuffix(at, "]") {
			t.Errorf("%s has no description", at)
		}
		fields := map[string]reflect.Type{}
		for f := range typ.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields[name] = f.Type
		}
		for name, field := range fields {
			property, ok := s.Properties[name]
			if !ok {
				t.Errorf("the CRD lacks %s.%s: the API server would drop it", at, name)
				continue
			}
			compare(t, at+"."+name, field, property)
		}
		for name := range s.Properties {
			if _, ok := fields[name]; !ok {
				t.Errorf("the types lack %s.%s", at, name)
			}
		}
	}
}

func full() *Sync {
	now := metav1.NewMicroTime(time.Date(2026, 11, 24, 1, 2, 3, 4000, time.UTC))
	stage := &Stage{Commit: "c0ffee", ContentID: "abcd", Time: now, Attempt: 2}
	prune := false
	s := &Sync{
		TypeMeta:   metav1.TypeMeta{APIVersion: GroupVersion.String(), Kind: Kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{AnnotationAccept: "c0ffee"}},
		Spec: Spec{
			Source: Source{Repository: "shop", Ref: "refs/heads/main"}, Path: "deploy", Include: []string{"base"},
			ServiceAccountName: "robot", Prune: &prune, DeletionPolicy: DeletionDelete, Drift: DriftReport, Suspend: true,
			HealthTimeout: &metav1.Duration{Duration: time.Minute}, Trust: Trust{Since: "c0ffee", Signers: []string{"ada"}},
		},
	}
	s.Status = Status{
		State: StateHealthy, Conditions: []metav1.Condition{{Type: ConditionReady, LastTransitionTime: metav1.NewTime(now.Truncate(time.Second))}},
		Announced: stage, Received: stage, Verified: stage, Applied: stage, Healthy: stage, HealthySince: &now,
		Attempts: map[string]int64{"Applied": 1}, History: []Former{{Content: "ab", Attempts: 3}},
		Kinds: []ObjectKind{{Group: "apps", Version: "v1", Kind: "Deployment", Namespaced: true}}, Shards: 1, Inventory: []byte{1},
		Objects: Counts{Total: 1, Current: 1}, Problems: []Problem{{Kind: ProblemApply, Message: "no", File: "a.yaml", Line: 3}},
	}
	return s
}

func TestUnstructuredRoundTrip(t *testing.T) {
	t.Parallel()
	want := full()
	u, err := want.ToUnstructured()
	if err != nil {
		t.Fatal(err)
	}
	got, err := FromUnstructured(u)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("FromUnstructured(ToUnstructured(s)): -want, +got:\n%s", diff)
	}
}

func TestDeepCopySharesNothing(t *testing.T) {
	t.Parallel()
	want, original := full(), full()
	c := original.DeepCopy()
	if diff := cmp.Diff(want, c); diff != "" {
		t.Fatalf("DeepCopy(): -want, +got:\n%s", diff)
	}
	c.Annotations[AnnotationAccept] = "x"
	c.Spec.Include[0], *c.Spec.Prune, c.Spec.Trust.Signers[0] = "x", true, "x"
	c.Status.Conditions[0].Type, c.Status.Applied.Commit, c.Status.Attempts["Applied"] = "x", "x", 9
	c.Status.History[0].Content, c.Status.Kinds[0].Kind, c.Status.Problems[0].File = "x", "x", "x"
	if diff := cmp.Diff(want, original); diff != "" {
		t.Errorf("changing the copy changed the original: -want, +got:\n%s", diff)
	}
}

func TestLabelIsValidAndUnique(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 63)
	seen := map[string]string{}
	for _, s := range [][2]string{
		{"shop", "web"},
		{"shop", "web.v2"},
		{long, "a"},
		{long, "b"},
		{"a", strings.Repeat("x", 253)},
		{"a", strings.Repeat("x", 252) + "y"},
		{long[:61], "a"},
		{long[:62], "a"},
	} {
		label := Label(s[0], s[1])
		if errs := validation.IsValidLabelValue(label); len(errs) > 0 {
			t.Errorf("Label(%q, %q) = %q: %v", s[0], s[1], label, errs)
		}
		if other, dup := seen[label]; dup {
			t.Errorf("%v and %s share the label %q", s, other, label)
		}
		seen[label] = s[0] + "/" + s[1]
	}
}

func TestEmptyStatusIsNotWritten(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(Sync{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "status") {
		t.Errorf("an empty Sync marshals a status: %s", b)
	}
}
