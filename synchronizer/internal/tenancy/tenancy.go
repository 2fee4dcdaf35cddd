// Package tenancy decides what the Syncs of a namespace may have: paths of repositories, Syncs of other namespaces to
// depend on, and how much one of them may hold. The cluster's administrator configures it; neither Git nor a Sync can
// widen it.
package tenancy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

// The quota of a Sync whose namespace has no other.
const (
	// DefaultObjects is as many as are rendered at all.
	DefaultObjects = render.MaxObjects
	// DefaultBytes is as much as one transfer brings.
	DefaultBytes = 64 << 20
)

// Rules are what namespaces may have.
type Rules struct {
	// Paths says who may use which paths. When it is empty everybody may use what the cluster is granted.
	Paths []PathRule
	// Dependencies says whose Syncs a Sync may depend on besides those of its own namespace.
	Dependencies []DependencyRule
	// Quotas says how much a Sync may hold.
	Quotas Quotas
}

// PathRule lets namespaces use paths.
type PathRule struct {
	// Namespaces are the ones that may.
	Namespaces []string `yaml:"namespaces"`
	// Repository is the source's repository; any when empty.
	Repository string `yaml:"repository"`
	// Paths are what they may use; a Sync's path and include must lie below.
	Paths []string `yaml:"paths"`
}

// DependencyRule lets the Syncs of namespaces depend on those of others. Who depends on a Sync learns whether it exists
// and is healthy, and by readyExpr what its metadata, spec and status say.
type DependencyRule struct {
	// Namespaces are the ones whose Syncs may depend.
	Namespaces []string `yaml:"namespaces"`
	// SyncsOf are the namespaces whose Syncs may be depended on.
	SyncsOf []string `yaml:"syncsOf"`
}

// Quotas say how much one Sync may hold.
type Quotas struct {
	Quota `yaml:",inline"`

	// Namespaces have quotas of their own; what one leaves out is as for everybody.
	Namespaces map[string]Quota `yaml:"namespaces"`
}

// Quota bounds one Sync. A field that is 0 is as for everybody.
type Quota struct {
	// Objects bounds the objects that its tree renders to; DefaultObjects for everybody, and never more.
	Objects int `yaml:"objects"`
	// Bytes bounds them together, each as JSON without spaces; DefaultBytes for everybody.
	Bytes int64 `yaml:"bytes"`
}

// Validate brings paths into canonical form, fills defaults and returns every problem.
func (r *Rules) Validate() error {
	var problems []error
	for i := range r.Paths {
		rule := &r.Paths[i]
		cleaned, err := revision.CleanPaths(rule.Paths)
		if err != nil {
			problems = append(problems, fmt.Errorf("paths[%d]: %w", i, err))
		}
		rule.Paths = cleaned
		if len(rule.Namespaces) == 0 {
			problems = append(problems, fmt.Errorf("paths[%d]: namespaces is empty", i))
		}
	}
	for i, rule := range r.Dependencies {
		if len(rule.Namespaces) == 0 || len(rule.SyncsOf) == 0 {
			problems = append(problems, fmt.Errorf("dependencies[%d]: namespaces and syncsOf are both needed", i))
		}
	}
	r.Quotas.fill()
	problems = append(problems, r.Quotas.check("quotas"))
	for namespace := range r.Quotas.Namespaces {
		problems = append(problems, r.Quotas.Namespaces[namespace].check("quotas.namespaces."+namespace))
	}
	return errors.Join(problems...)
}

func (q *Quotas) fill() {
	if q.Objects == 0 {
		q.Objects = DefaultObjects
	}
	if q.Bytes == 0 {
		q.Bytes = DefaultBytes
	}
}

func (q Quota) check(key string) error {
	switch {
	case q.Objects < 0 || q.Bytes < 0:
		return fmt.Errorf("%s: a quota is negative", key)
	case q.Objects > render.MaxObjects:
		return fmt.Errorf("%s.objects: %d objects are more than the %d that are rendered of one Sync", key, q.Objects, render.MaxObjects)
	}
	return nil
}

// Permit returns why Syncs of a namespace may not use paths of a source; nil when they may.
func (r Rules) Permit(namespace string, source revision.Source, paths []string) error {
	if len(r.Paths) == 0 {
		return nil
	}
	for _, p := range paths {
		if !r.permits(namespace, source.Repository, p) {
			return fault.New(fault.Unauthorized, "namespace %q may not use path %q of repository %q; the cluster's administrator decides that in the synchronizer's configuration, under paths", namespace, p, source.Repository)
		}
	}
	return nil
}

func (r Rules) permits(namespace, repository, path string) bool {
	return slices.ContainsFunc(r.Paths, func(rule PathRule) bool {
		return slices.Contains(rule.Namespaces, namespace) && (rule.Repository == "" || rule.Repository == repository) &&
			revision.CoveredBy(rule.Paths, path)
	})
}

// DependOn returns why Syncs of a namespace may not depend on those of another; nil when they may.
func (r Rules) DependOn(namespace, on string) error {
	if namespace == on || slices.ContainsFunc(r.Dependencies, func(rule DependencyRule) bool {
		return slices.Contains(rule.Namespaces, namespace) && slices.Contains(rule.SyncsOf, on)
	}) {
		return nil
	}
	return fault.New(fault.Unauthorized, "Syncs of namespace %q may not depend on those of namespace %q; the cluster's administrator decides that in the synchronizer's configuration, under dependencies", namespace, on)
}

// QuotaOf returns how much a Sync of a namespace may hold.
func (r Rules) QuotaOf(namespace string) Quota {
	quota := r.Quotas.Namespaces[namespace]
	if quota.Objects == 0 {
		quota.Objects = r.Quotas.Objects
	}
	if quota.Bytes == 0 {
		quota.Bytes = r.Quotas.Bytes
	}
	return quota
}
