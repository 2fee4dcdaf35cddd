package render

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// Policy is what an object asks of the synchronizer, by annotations in Git.
type Policy struct {
	// Apply says how it is written; empty means merge.
	Apply v1alpha1.ApplyPolicy
	// Wave says when; 0 by default.
	Wave int
}

// policy reads an object's annotations, whose values are texts. A value that means nothing is a mistake, and the object is
// better left alone than handled as nobody asked for.
func (m manifest) policy(meta map[string]any) (Policy, error) {
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
	keep := []string{v1alpha1.PruneKeep, v1alpha1.PruneConfirm}
	if value, set := annotations[v1alpha1.AnnotationPrune].(string); set && !slices.Contains(keep, value) {
		return p, m.annotation(v1alpha1.AnnotationPrune, value, "is none of "+listed(keep))
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
