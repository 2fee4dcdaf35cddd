package pipeline

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-cd/tandem/shared/revision"
)

// Cluster is a cluster and what it may receive.
type Cluster struct {
	Name   string
	Grants []Grant
	// Line is where it is written.
	Line int
}

// Grant lets a cluster receive some paths of some refs of a repository.
type Grant struct {
	// Repository is a name of the automator's configuration.
	Repository string
	// Refs are full ref names; "*" stands for any characters but a slash.
	Refs []string
	// Paths are folders or files in canonical form; "" is the whole tree.
	Paths []string
}

// ParseClusters reads clusters.yaml. repository is the name of the repository
// that the file is in; grants that name none are for it. If there are problems,
// there are no clusters.
func ParseClusters(file string, data []byte, repository string) ([]Cluster, Problems) {
	r := &reader{file: file}
	var clusters []Cluster
	if root := r.document(data); root != nil {
		clusters = r.clusters(root, repository)
	}
	if len(r.problems) > 0 {
		return nil, r.problems.sorted()
	}
	return clusters, nil
}

func (r *reader) clusters(root *yaml.Node, repository string) []Cluster {
	m, ok := r.mapping(root, "the file of clusters", "version", "clusters")
	if !ok {
		return nil
	}
	m.version()
	var clusters []Cluster
	unique := names{reader: r, what: "cluster"}
	for _, n := range m.listOf("clusters", "[{name: dev-eu, grants: [{refs: [main], paths: [env/dev]}]}]", maxClusters) {
		c, ok := r.mapping(n, "a cluster", "name", "grants")
		if !ok {
			continue
		}
		cluster := Cluster{Name: c.name("name", "dev-eu"), Line: n.Line}
		unique.once(cluster.Name, n)
		for _, g := range c.list("grants", "[{refs: [main], paths: [env/dev]}]") {
			if grant, ok := r.grant(g, repository); ok {
				cluster.Grants = append(cluster.Grants, grant)
			}
		}
		clusters = append(clusters, cluster)
	}
	return clusters
}

func (r *reader) grant(n *yaml.Node, repository string) (Grant, bool) {
	m, ok := r.mapping(n, "a grant", "repository", "refs", "paths")
	if !ok {
		return Grant{}, false
	}
	grant := Grant{Repository: repository}
	if text, at := m.text("repository", ""); at != nil {
		grant.Repository = text
		if err := (revision.Source{Repository: text, Ref: "refs/heads/main"}).Validate(); err != nil {
			m.atf(at, "%v; write the name that the automator's configuration gives it", err)
		}
	}
	refs, nodes := m.texts("refs", "[main]")
	for i, text := range refs {
		if ref, ok := r.ref(text, nodes[i]); ok {
			grant.Refs = append(grant.Refs, ref)
		}
	}
	paths, nodes := m.texts("paths", "[env/dev]")
	for i, text := range paths {
		if path, ok := r.path(text, nodes[i]); ok {
			grant.Paths = append(grant.Paths, path)
		}
	}
	return grant, true
}

// ref returns a pattern of full ref names; a short name is a branch.
func (r *reader) ref(text string, n *yaml.Node) (string, bool) {
	full := text
	if !strings.HasPrefix(text, "refs/") {
		full = revision.BranchRef(text)
	}
	bad := strings.ContainsAny(full, " ~^:?[]\\\x00\n\t") || strings.Contains(full, "..") || strings.Contains(full, "//") ||
		strings.HasSuffix(full, "/") || strings.HasPrefix(text, "/")
	if bad {
		r.atf(n, `ref %s is not a branch or a full ref name; write one such as main, "release/*" or refs/tags/v1`, quote(text))
		return "", false
	}
	return full, true
}
