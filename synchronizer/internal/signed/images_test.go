package signed_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
)

func objectOf(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(text, "DIGEST", signaturetest.Digest("1.0.0"))), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {note: "\ufeffanything \u2028 goes"}}
spec:
  template:
    spec:
      initContainers: [{name: init, image: "ghcr.io/acme/init:1@DIGEST"}]
      containers:
      - {name: web, image: "ghcr.io/acme/web@DIGEST"}
      - {name: again, image: "ghcr.io/acme/web:1@DIGEST"}
      - {name: other, image: "docker.io/other/tool:1"}
      volumes: [{name: data, image: {reference: "ghcr.io/acme/data@DIGEST"}}]
`

func TestImages(t *testing.T) {
	t.Parallel()
	policy := policyOf(t, nil, keyed(signaturetest.ECDSA(t).Public, "ghcr.io/acme/*"))
	cases := map[string]struct {
		reason, object string
		want           []string
	}{
		"Workload":  {"Every container counts, and each image once.", deployment, []string{"ghcr.io/acme/web", "ghcr.io/acme/init", "ghcr.io/acme/data"}},
		"ConfigMap": {"Text does not run.", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {values.yaml: \"image: ghcr.io/acme/web:1\"}}", nil},
		"Custom":    {"What an operator runs counts.", "{apiVersion: example.com/v1, kind: Web, metadata: {name: a}, spec: {image: \"ghcr.io/acme/web@DIGEST\"}}", []string{"ghcr.io/acme/web"}},
		"Fields":    {"An image in several fields is one.", "{apiVersion: example.com/v1, kind: Web, metadata: {name: a}, spec: {image: {repository: ghcr.io/acme/web, tag: \"1\", digest: \"DIGEST\"}}}", []string{"ghcr.io/acme/web"}},
		"Patch":     {"What is in a text of several lines counts.", "{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, metadata: {name: a}, spec: {patches: [{patch: \"apiVersion: apps/v1\\nkind: Deployment\\nmetadata: {name: web}\\nspec:\\n  template:\\n    spec:\\n      containers:\\n      - {name: web, image: 'ghcr.io/acme/web@DIGEST'}\\n\"}]}}", []string{"ghcr.io/acme/web"}},
		"Script":    {"Backslashes and other characters in texts are nobody's matter.", "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{image: nginx, args: [\"s/\\\\//x/\", \"\\u007f\", \"\\ufeff\"]}]}}", nil},
		"Operator":  {"A group that ends in k8s.io may have images.", "{apiVersion: sparkoperator.k8s.io/v1, kind: SparkApplication, metadata: {name: a}, spec: {image: \"ghcr.io/acme/web@DIGEST\"}}", []string{"ghcr.io/acme/web"}},
		"NoImages":  {"Not all that is called image is one.", "{apiVersion: example.com/v1, kind: Page, metadata: {name: a}, spec: {backgroundImage: \"https://example.com/A.png\", image: \"My Picture\"}}", nil},
		"Role":      {"It has no images.", "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: a}, rules: []}", nil},
		"Foreign":   {"No rule is about it.", "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{image: nginx}]}}", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			images, err := policy.Images(objectOf(t, tc.object))
			var got []string
			for _, image := range images {
				if image.Digest != signaturetest.Digest("1.0.0") {
					t.Errorf("%v: another digest than the object has", image)
				}
				got = append(got, image.Repository)
			}
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("%s\nImages(...): got %q, %v; want %q", tc.reason, got, err, tc.want)
			}
		})
	}
}

func TestImagesThatCannotBeChecked(t *testing.T) {
	t.Parallel()
	policy := policyOf(t, nil, keyed(signaturetest.ECDSA(t).Public, "ghcr.io/acme/*"))
	pod := func(image string) string {
		return "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{image: " + image + "}]}}"
	}
	web := func(spec string) string {
		return "{apiVersion: example.com/v1, kind: Web, metadata: {name: a}, spec: " + spec + "}"
	}
	cases := map[string]struct{ object, want string }{
		"CustomUpperCase":  {web(`{template: {spec: {containers: [{image: "GHCR.io/acme/web:1"}]}}}`), "Web/a.spec.template.spec.containers[0].image: \"GHCR.io/acme/web:1\" is not an image reference"},
		"CustomNoImage":    {web(`{initContainers: [{image: "[::1]/acme/web:1"}]}`), "is not an image reference"},
		"CustomNoTag":      {web("{image: ghcr.io/acme/web}"), "spec.image: ghcr.io/acme/web names no digest"},
		"CustomList":       {web("{sidecarImages: [ghcr.io/acme/web]}"), "names no digest"},
		"CustomRepository": {web("{image: {registry: ghcr.io, repository: acme/web}}"), "names no digest"},
		"CustomVolume":     {web("{volumes: [{name: data, image: {reference: ghcr.io/acme/data}}]}"), "names no digest"},
		"Text":             {web(`{patch: "image: [\n"}`), "cannot be read"},
		"TextNoTag":        {web(`{values: "web:\n  image: ghcr.io/acme/web\n"}`), "spec.values: .web.image: ghcr.io/acme/web names no digest"},
		"Tag":              {pod("ghcr.io/acme/web:1"), "Pod/a spec.containers[0].image: ghcr.io/acme/web:1 names no digest"},
		"NoTag":            {pod("ghcr.io/acme/web"), "names no digest"},
		"NoImage":          {pod(`"$(IMAGE)"`), "is not an image reference"},
		"UpperCase":        {pod("GHCR.io/acme/web:1"), "is not an image reference"},
		"Custom":           {"{apiVersion: example.com/v1, kind: Web, metadata: {name: a}, spec: {image: \"ghcr.io/acme/web:1\"}}", "names no digest"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := policy.Images(objectOf(t, tc.object)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Images(...): got %v, want %q", err, tc.want)
			}
		})
	}
	if images, err := policyOf(t, nil).Images(objectOf(t, pod("ghcr.io/acme/web:1"))); err != nil || images != nil {
		t.Errorf("without rules: %v, %v", images, err)
	}
}

// FuzzImages gives objects any image: one that a runtime would take for one of a repository that a rule names is never let through
// without being demanded.
func FuzzImages(f *testing.F) {
	policy := policyOf(f, nil, keyed(signaturetest.ECDSA(f).Public, "*"))
	for _, image := range []string{"nginx", "nginx:1", "ghcr.io/acme/web@" + signaturetest.Digest("a"), "a@b@c", " nginx", "\x00", "nginx@sha256:", "é"} {
		f.Add(image)
	}
	f.Fuzz(func(t *testing.T, image string) {
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "a"},
			"spec": map[string]any{"containers": []any{map[string]any{"image": image}}},
		}}
		images, err := policy.Images(o)
		if err == nil && image != "" && (len(images) != 1 || !strings.Contains(image, images[0].Digest) || images[0] == (signature.Image{})) {
			t.Errorf("Images(%q): %v; want its digest demanded, or a refusal", image, images)
		}
	})
}
