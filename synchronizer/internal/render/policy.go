package render

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// Policy is what an object asks of the synchronizer, by annotations in Git.
type Policy struct {
	// Apply says how it is written; empty means merge.
	Apply v1alpha1.ApplyPolicy
	// Wave says when; 0 by default. A pre-sync hook is in the wave before all others, and a post-sync hook in the one after.
	Wave int
	// Ignore are fields that are left to others, each as the names on the way to it.
	Ignore [][]string
	// Drift says what happens when somebody else changes it; empty means what the Sync says.
	Drift v1alpha1.DriftPolicy
	// Hook makes a Job run for each new content; empty for everything else.
	Hook v1alpha1.Hook
}

// The waves of hooks.
const (
	PreSyncWave  = -v1alpha1.MaxWave - 1
	PostSyncWave = v1alpha1.MaxWave + 1
)

// policy reads an object's annotations, whose values are texts. A value that means nothing is a mistake, and the object is
// better left alone than handled as nobody asked for.
func (m manifest) policy(gvk schema.GroupVersionKind, meta map[string]any) (Policy, error) {
	var p Policy
	annotations, _ := meta["annotations"].(map[string]any)
	if value, set := annotations[v1alpha1.AnnotationApply].(string); set {
		p.Apply = v1alpha1.ApplyPolicy(value)
		if !slices.Contains(v1alpha1.ApplyPolicies(), p.Apply) {
			return p, m.annotation(v1alpha1.AnnotationApply, value, "is none of "+listed(v1alpha1.ApplyPolicies()))
		}
	}
	if value, set := annotations[v1alpha1.AnnotationWave].(string); set {
		wave, err := strconv.Atoi(value)
		if err != nil || wave < -v1alpha1.MaxWave || wave > v1alpha1.MaxWave {
			return p, m.annotation(v1alpha1.AnnotationWave, value,
				fmt.Sprintf("is no whole number between -%d and %d", v1alpha1.MaxWave, v1alpha1.MaxWave))
		}
		p.Wave = wave
	}
	if value, set := annotations[v1alpha1.AnnotationDrift].(string); set {
		p.Drift = v1alpha1.DriftPolicy(value)
		if !slices.Contains(v1alpha1.DriftPolicies(), p.Drift) {
			return p, m.annotation(v1alpha1.AnnotationDrift, value, "is none of "+listed(v1alpha1.DriftPolicies()))
		}
	}
	keep := []string{v1alpha1.PruneKeep, v1alpha1.PruneConfirm}
	if value, set := annotations[v1alpha1.AnnotationPrune].(string); set && !slices.Contains(keep, value) {
		return p, m.annotation(v1alpha1.AnnotationPrune, value, "is none of "+listed(keep))
	}
	if value, set := annotations[v1alpha1.AnnotationIgnore].(string); set {
		fields, err := m.ignored(value)
		if err != nil {
			return p, err
		}
		p.Ignore = fields
	}
	if value, set := annotations[v1alpha1.AnnotationHook].(string); set {
		return m.hook(gvk, p, value)
	}
	return p, nil
}

// unescape reads a token of a JSON pointer (RFC 6901).
var unescape = strings.NewReplacer("~1", "/", "~0", "~") //nolint:gochecknoglobals // a constant

// ignored reads a list of JSON pointers to fields.
func (m manifest) ignored(value string) ([][]string, error) {
	pointers := strings.Split(value, ",")
	if len(pointers) > v1alpha1.MaxIgnored {
		return nil, m.annotation(v1alpha1.AnnotationIgnore, value, fmt.Sprintf("lists more than %d fields", v1alpha1.MaxIgnored))
	}
	fields := make([][]string, len(pointers))
	for i, pointer := range pointers {
		tokens := strings.Split(strings.TrimSpace(pointer), "/")
		switch {
		case len(tokens) < 2 || tokens[0] != "" || slices.Contains(tokens[1:], ""):
			return nil, m.annotation(v1alpha1.AnnotationIgnore, value, "is no list of JSON pointers such as /spec/replicas")
		case tokens[1] == "apiVersion" || tokens[1] == "kind" || tokens[1] == "metadata" && len(tokens) == 2:
			return nil, m.annotation(v1alpha1.AnnotationIgnore, value, "leaves "+pointer+" to others, by which the object is known")
		}
		for at, token := range tokens {
			tokens[at] = unescape.Replace(token)
		}
		fields[i] = tokens[1:]
	}
	return fields, nil
}

// replicas is the field that an autoscaler writes.
var replicas = []string{"spec", "replicas"} //nolint:gochecknoglobals // a constant

// scales returns what an autoscaler of the tree scales; nil for every other object.
func scales(gvk schema.GroupVersionKind, content map[string]any) *schema.GroupKind {
	if gvk.Group != "autoscaling" || gvk.Kind != "HorizontalPodAutoscaler" {
		return nil
	}
	version, _, _ := unstructured.NestedString(content, "spec", "scaleTargetRef", "apiVersion")
	kind, _, _ := unstructured.NestedString(content, "spec", "scaleTargetRef", "kind")
	gv, err := schema.ParseGroupVersion(version)
	if err != nil || kind == "" {
		return nil
	}
	return &schema.GroupKind{Group: gv.Group, Kind: kind}
}

// leaveReplicas leaves the number of replicas to the autoscalers that are in the same tree.
func leaveReplicas(objects []Desired) {
	scaled := map[object.Key]bool{}
	for i := range objects {
		if d := &objects[i]; d.scales != nil {
			scaled[object.Key{Group: d.scales.Group, Kind: d.scales.Kind, Namespace: d.Key.Namespace, Name: d.scaledName}] = true
		}
	}
	for i := range objects {
		if d := &objects[i]; scaled[d.Key] {
			d.Policy.Ignore = append(slices.Clone(d.Policy.Ignore), replicas)
		}
	}
}

// hook puts a Job into the wave of its hook.
func (m manifest) hook(gvk schema.GroupVersionKind, p Policy, value string) (Policy, error) {
	p.Hook = v1alpha1.Hook(value)
	switch {
	case !slices.Contains(v1alpha1.Hooks(), p.Hook):
		return p, m.annotation(v1alpha1.AnnotationHook, value, "is none of "+listed(v1alpha1.Hooks()))
	case gvk.Group != "batch" || gvk.Kind != "Job":
		return p, m.annotation(v1alpha1.AnnotationHook, value, "is on a "+gvk.Kind+"; only a Job of batch/v1 runs and ends")
	case p.Apply != "" || p.Wave != 0:
		return p, m.annotation(v1alpha1.AnnotationHook, value, "goes with neither "+v1alpha1.AnnotationApply+" nor "+v1alpha1.AnnotationWave)
	case p.Hook == v1alpha1.HookPreSync:
		p.Wave = PreSyncWave
	case p.Hook == v1alpha1.HookPostSync:
		p.Wave = PostSyncWave
	}
	return p, nil
}

func (m manifest) annotation(name, value, problem string) error {
	return m.wrong("the annotation %s: %q %s", []string{"metadata", "annotations", name}, name, value, problem)
}

func listed[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = string(value)
	}
	return strings.Join(texts, ", ")
}
