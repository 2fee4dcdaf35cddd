package trust

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/imageref"
)

// shapes are files in each way to write an image; REPO and BASE stand for the
// repository, whole and without its host.
func shapes() map[string]string {
	return map[string]string{
		"apps/pod.yaml":           "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: REPO:1.0.0 # c\n",
		"apps/rollout.yaml":       "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec: {template: {spec: {containers: [{image: 'REPO'}]}}}\n",
		"apps/kustomization.yaml": "images:\n- name: REPO\n  newTag: 1.0.0\n- {name: x, newName: REPO, newTag: '1', digest: ''}\n",
		"apps/values.yaml":        "image: {repository: REPO, tag: 1.5, digest: \"\"}\nside: {image: {registry: ghcr.io, repository: BASE, tag: v1}}\n",
		"apps/app.yaml":           "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec:\n  helm:\n    values: |\n      image: {repository: REPO, tag: \"1\"}\n    parameters:\n    - {name: image.name, value: REPO}\n    - {name: image.tag, value: \"1\"}\n",
		"apps/values.json":        "{\n\t\"image\": {\"repository\": \"REPO\", \"tag\": \"1.0.0\"}\n}\n",
		"apps/Dockerfile":         "# tandem: base\nFROM REPO:1.0.0 AS build\n",
		"apps/main.tf":            "tag = \"1.0.0\" // tandem: REPO:tag\n",
		"apps/flux.yaml":          "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: REPO:1.0.0 # {\"$imagepolicy\": \"a:b\"}\n",
	}
}

// Whatever the automator edits, the synchronizer accepts if the repository is one
// that the automation may bring, and refuses if not. A repository is never changed.
func TestEditsAreWhatAutomationMayDo(t *testing.T) {
	t.Parallel()
	policy := mustPolicy(t, cast())
	rapid.Check(t, func(t *rapid.T) {
		files := shapes()
		path := rapid.SampledFrom([]string{
			"apps/pod.yaml", "apps/rollout.yaml", "apps/kustomization.yaml", "apps/values.yaml", "apps/app.yaml",
			"apps/values.json", "apps/Dockerfile", "apps/main.tf", "apps/flux.yaml",
		}).Draw(t, "path")
		base := rapid.SampledFrom([]string{"acme/web", "acme/deep/er", "evil/web"}).Draw(t, "repository")
		by := rapid.SampledFrom([]string{"bot", "renovate"}).Draw(t, "by")
		newline := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "newline")
		before := strings.NewReplacer("REPO", "ghcr.io/"+base, "BASE", base, "\n", newline).Replace(files[path])
		tag := rapid.StringMatching(`v?[0-9]{1,2}(\.[0-9]{1,3}){0,2}(-[a-z]{1,4})?`).Draw(t, "tag")
		after := editAll(t, path, before, tag, "sha256:"+rapid.StringMatching(`[0-9a-f]{64}`).Draw(t, "digest"))

		person := change{by: "ann", set: set(path, before)}
		accepted := by == "renovate" || strings.HasPrefix(base, "acme/")
		if refusal := verdictOn(t, policy, person, change{by: by, set: set(path, after)}); (refusal == nil) != accepted {
			t.Fatalf("%s brings %q for %q: %v, want accepted: %v", by, after, before, refusal, accepted)
		}
		if path == "apps/pod.yaml" { // where Kubernetes says what an image is, an allowed one may come
			return
		}
		stolen := strings.ReplaceAll(after, base, "acme/other")
		if refusal := verdictOn(t, policy, person, change{by: by, set: set(path, stolen)}); refusal == nil {
			t.Fatalf("%s turns %q into %q", by, before, stolen)
		}
	})
}

func editAll(t *rapid.T, path, before, tag, digest string) string {
	t.Helper()
	positions, err := imageref.Find(path, []byte(before))
	if err != nil || len(positions) == 0 {
		t.Fatalf("Find(%q): %d positions, %v", before, len(positions), err)
	}
	var splices []imageref.Splice
	for _, p := range positions {
		text, err := p.Text(tag, digest)
		if err != nil {
			t.Fatalf("%s: %v", p.Path, err)
		}
		splices = append(splices, imageref.Splice{Position: p, Value: text})
	}
	after, err := imageref.Replace(path, []byte(before), splices)
	if err != nil {
		t.Fatalf("Replace(%q): %v", before, err)
	}
	return string(after)
}

// verdictOn has a person write a file and an automation change it.
func verdictOn(t *rapid.T, policy *Policy, person, automation change) *Refusal {
	t.Helper()
	h := newHistory(gitobject.SHA1, []change{person, automation})
	verdict, err := Verify(t.Context(), h.request(policy))
	if err != nil {
		t.Fatalf("Verify(...): %v", err)
	}
	return verdict.Refusal
}
