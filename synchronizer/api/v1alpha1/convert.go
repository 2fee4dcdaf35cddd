package v1alpha1

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// FromUnstructured reads a Sync as a dynamic client returns it.
func FromUnstructured(u *unstructured.Unstructured) (*Sync, error) {
	s := new(Sync)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, s); err != nil {
		return nil, fmt.Errorf("sync %s/%s: %w", u.GetNamespace(), u.GetName(), err)
	}
	return s, nil
}

// ToUnstructured is the Sync as a dynamic client sends it.
func (s *Sync) ToUnstructured() (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
	if err != nil {
		return nil, fmt.Errorf("sync %s/%s: %w", s.Namespace, s.Name, err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(GroupVersion.WithKind(Kind))
	return u, nil
}

// DeepCopy shares nothing with s.
func (s *Sync) DeepCopy() *Sync {
	out := *s
	s.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Spec = s.Spec.deepCopy()
	out.Status = *s.Status.DeepCopy()
	return &out
}

func (s *Spec) deepCopy() Spec {
	out := *s
	out.Include, out.DependsOn = slices.Clone(s.Include), slices.Clone(s.DependsOn)
	out.Prune = clone(s.Prune)
	out.HealthTimeout = clone(s.HealthTimeout)
	out.Health.Rules = slices.Clone(s.Health.Rules)
	out.Trust.Signers = slices.Clone(s.Trust.Signers)
	return out
}

// DeepCopy shares nothing with s.
func (s *Status) DeepCopy() *Status {
	out := *s
	out.Conditions = slices.Clone(s.Conditions)
	out.VerifiedPaths = slices.Clone(s.VerifiedPaths)
	out.Announced, out.Received, out.Verified = clone(s.Announced), clone(s.Received), clone(s.Verified)
	out.Applied, out.Healthy = clone(s.Applied), clone(s.Healthy)
	out.HealthySince = s.HealthySince.DeepCopy()
	out.Attempts = maps.Clone(s.Attempts)
	out.History = slices.Clone(s.History)
	out.Kinds = slices.Clone(s.Kinds)
	out.Inventory = slices.Clone(s.Inventory)
	out.Problems = slices.Clone(s.Problems)
	out.Observed = s.Observed.DeepCopy()
	return &out
}

// DeepCopy shares nothing with o.
func (o *Observation) DeepCopy() *Observation {
	out := clone(o)
	if out == nil {
		return nil
	}
	out.Changes = slices.Clone(o.Changes)
	for i := range out.Changes {
		out.Changes[i].Fields = slices.Clone(o.Changes[i].Fields)
	}
	return out
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
