package pipeline

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tandem-cd/tandem/shared/revision"
)

// Folder is where the files stand, at the root of a repository.
const Folder = ".tandem"

// ClustersFile is the file of clusters and grants.
const ClustersFile = Folder + "/clusters.yaml"

// Set is what the files of a repository say.
type Set struct {
	// Pipelines are those that can be used, ordered by file.
	Pipelines []*Pipeline
	Clusters  []Cluster
	// Problems are those of all files, and between them.
	Problems Problems
}

// Names reports whether a pipeline has an image of a repository, by its canonical name.
func (s *Set) Names(repository string) bool {
	return slices.ContainsFunc(s.Pipelines, func(p *Pipeline) bool {
		return slices.ContainsFunc(p.Images, func(i Image) bool { return i.Repository.Name() == repository })
	})
}

// Load reads the files below [Folder], by their path in the repository.
func Load(home Home, files map[string][]byte) Set {
	var s Set
	clusters, present := files[ClustersFile]
	if present {
		var problems Problems
		s.Clusters, problems = ParseClusters(ClustersFile, clusters, home.Repository)
		s.Problems = append(s.Problems, problems...)
		present = len(problems) == 0
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if file == ClustersFile {
			continue
		}
		p, problems := s.one(home, file, files[file])
		if p != nil {
			if present {
				problems = append(problems, s.assign(home, p)...)
			}
			s.Pipelines = append(s.Pipelines, p)
		}
		s.Problems = append(s.Problems, problems...)
	}
	s.Problems = s.Problems.sorted()
	return s
}

// one reads a pipeline, and refuses one that would fight with another.
func (s *Set) one(home Home, file string, data []byte) (*Pipeline, Problems) {
	if path.Dir(file) != Folder || path.Ext(file) != ".yaml" {
		if path.Ext(file) != ".yml" && path.Ext(file) != ".yaml" {
			return nil, nil // a README is no problem
		}
		return nil, Problems{{File: file, Message: fmt.Sprintf("not read; pipelines are the files %s/<name>.yaml", Folder)}}
	}
	p, problems := parse(home, file, data)
	if p == nil {
		return nil, problems
	}
	for _, other := range s.Pipelines {
		if problem, conflict := conflict(other, p); conflict {
			return nil, Problems{problem}
		}
	}
	return p, nil
}

// conflict tells why two pipelines cannot both be followed.
func conflict(first, second *Pipeline) (Problem, bool) {
	if first.App == second.App {
		return Problem{
			File: second.File, Line: second.Line,
			Message: fmt.Sprintf("the app %s is the one of %s; rename it, or put both into one file", second.App, first.File),
		}, true
	}
	image, shared := sharedImage(first, second)
	if !shared {
		return Problem{}, false
	}
	for _, e := range second.Environments {
		for _, other := range first.Environments {
			if e.Branch == other.Branch && overlaps(e.Path, other.Path) {
				return Problem{File: second.File, Line: e.Line, Message: fmt.Sprintf(
					"the environment %s and the environment %s of %s both write %s to %s; only one pipeline can",
					e.Name, other.Name, first.File, image.Repository, orDot(e.Path))}, true
			}
		}
	}
	return Problem{}, false
}

func sharedImage(first, second *Pipeline) (Image, bool) {
	for _, image := range second.Images {
		if slices.ContainsFunc(first.Images, func(i Image) bool { return i.Repository.Name() == image.Repository.Name() }) {
			return image, true
		}
	}
	return Image{}, false
}

// assign finds the clusters of environments that name none, and checks the
// others. Such problems keep no pipeline from working as far as it can.
func (s *Set) assign(home Home, p *Pipeline) Problems {
	var problems Problems
	for i := range p.Environments {
		e := &p.Environments[i]
		var granted []string
		for _, c := range s.Clusters {
			if c.receives(home, e) {
				granted = append(granted, c.Name)
			}
		}
		problem := ""
		switch known := slices.ContainsFunc(s.Clusters, func(c Cluster) bool { return c.Name == e.Cluster }); {
		case e.Cluster == "" && len(granted) == 1:
			e.Cluster = granted[0]
		case e.Cluster == "" && len(granted) == 0:
			problem = fmt.Sprintf("no cluster receives %s, so nothing says whether the environment %s is healthy; grant the path in %s",
				home.place(e), e.Name, ClustersFile)
		case e.Cluster == "":
			problem = fmt.Sprintf("%s receive %s; say which one the environment %s is about: \"cluster: %s\"",
				strings.Join(granted, " and "), home.place(e), e.Name, granted[0])
		case !known:
			problem = fmt.Sprintf("the cluster %s of the environment %s is not in %s; add it there", e.Cluster, e.Name, ClustersFile)
		case !slices.Contains(granted, e.Cluster):
			problem = fmt.Sprintf("the cluster %s is not granted %s, the path of the environment %s; add it in %s",
				e.Cluster, home.place(e), e.Name, ClustersFile)
		}
		if problem != "" {
			problems = append(problems, Problem{File: p.File, Line: e.Line, Message: problem})
		}
	}
	return problems
}

// receives tells whether a cluster may receive an environment, as far as it is
// known which branch that is on.
func (c Cluster) receives(home Home, e *Environment) bool {
	return slices.ContainsFunc(c.Grants, func(g Grant) bool {
		return g.Repository == home.Repository && revision.CoveredBy(g.Paths, e.Path) && (e.Branch == "" || g.has(revision.BranchRef(e.Branch)))
	})
}
