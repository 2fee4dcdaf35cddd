package relay

import (
	"path"
	"slices"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/revision"
)

// Grant is what a cluster may receive.
type Grant struct {
	// Repository is the repository's name.
	Repository string
	// Refs are full ref names; a `*` stands for any characters but a slash.
	Refs []string
	// Paths are the folders or files it may receive, in canonical form.
	Paths []string
}

// Grants are all that a cluster may receive.
type Grants struct {
	// Known are the grants that were read.
	Known []Grant
	// Incomplete says that a repository was not read yet, which may grant more.
	Incomplete bool
}

func (g Grant) covers(source revision.Source) bool {
	return g.Repository == source.Repository && slices.ContainsFunc(g.Refs, func(pattern string) bool {
		matched, err := path.Match(pattern, source.Ref)
		return err == nil && matched
	})
}

// split divides paths into those that a cluster is granted and those that it is not. Without any grant for the source the
// error says so.
func split(grants Grants, cluster string, source revision.Source, paths []string) (allowed, denied []string, err error) {
	for _, p := range paths {
		if one := permit(grants, cluster, source, []string{p}); one != nil {
			denied, err = append(denied, p), one
			continue
		}
		allowed = append(allowed, p)
	}
	if len(allowed) > 0 || len(paths) == 0 {
		err = nil
	}
	return allowed, denied, err
}

// permit returns an Unauthorized fault that names the first path which no grant allows, or an Unavailable one while that is
// not known.
func permit(grants Grants, cluster string, source revision.Source, paths []string) error {
	var allowed []string
	for _, g := range grants.Known {
		if g.covers(source) {
			allowed = append(allowed, g.Paths...)
		}
	}
	if len(allowed) == 0 && grants.Incomplete {
		return fault.New(fault.Unavailable, "what cluster %q is granted is not known yet: the automator has not read all of its repositories since it started", cluster)
	}
	if len(allowed) == 0 {
		return fault.New(fault.Unauthorized, "cluster %q has no grant for %s; add one to .tandem/clusters.yaml in that repository", cluster, source)
	}
	for _, p := range paths {
		if !revision.CoveredBy(allowed, p) {
			return fault.New(fault.Unauthorized, "path %q of %s is outside the grant of cluster %q; granted are %q", p, source, cluster, allowed)
		}
	}
	return nil
}

// grantedRefs returns the ref patterns of a repository that a cluster is granted.
func grantedRefs(grants Grants, repository string) []string {
	var refs []string
	for _, g := range grants.Known {
		if g.Repository == repository {
			refs = append(refs, g.Refs...)
		}
	}
	return refs
}
