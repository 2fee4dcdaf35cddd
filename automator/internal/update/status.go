package update

import (
	"slices"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/signature"
)

// Status is what a pass of one branch's writer saw. It is never written to after it was published.
type Status struct {
	Source revision.Source
	// Tip is the commit that was looked at; zero before the branch was there.
	Tip gitobject.ID
	// Looked is when.
	Looked time.Time
	// Set is what the files in .tandem say.
	Set pipeline.Set
	// Pipelines are those that can be used, ordered by file.
	Pipelines []PipelineStatus
	// Problems are those of files, images and pushes.
	Problems []Problem
}

// PipelineStatus is a pipeline and where its releases are.
type PipelineStatus struct {
	Pipeline *pipeline.Pipeline
	// Candidates are what the first environment could run, by image name.
	Candidates map[string]pipeline.Candidate
	// Environments are those of the branch, in the order of promotion.
	Environments []EnvironmentStatus
}

// EnvironmentStatus is what an environment runs, and what happens next or why nothing does.
type EnvironmentStatus struct {
	Name    string
	Images  map[string]pipeline.Running
	Release string // the id of what runs; empty when it cannot be named
	Reasons []string
}

// Problem is something that keeps something from being done, and what to do about it.
type Problem struct {
	// File and Line are where, if it is about a file of the branch; Column counts from 1 and may be 0.
	pipeline.Problem

	// App and Environment are what it is about; empty when it is about more.
	App, Environment string
	// Refused is whether something was to be written and was not: an edit or a push.
	Refused bool
}

// Runs reports whether an environment runs an image.
func (s Status) Runs(image signature.Image) bool {
	for _, p := range s.Pipelines {
		for _, i := range p.Pipeline.Images {
			if i.Repository.Name() == image.Repository && p.runs(i.Name, image.Digest) {
				return true
			}
		}
	}
	return false
}

func (p PipelineStatus) runs(image, digest string) bool {
	for _, e := range p.Environments {
		if slices.ContainsFunc(e.Images[image].Pins, func(pin pipeline.Pin) bool { return pin.Digest == digest }) {
			return true
		}
	}
	return false
}

// Merge is what the writers of a repository saw: that of the branch with the pipelines, and those of the others. Each knows
// the environments of its own branch.
func Merge(home Status, others ...Status) Status {
	all := append([]Status{home}, others...)
	merged := home
	merged.Pipelines, merged.Problems = make([]PipelineStatus, 0, len(home.Pipelines)), nil
	for _, p := range home.Pipelines {
		whole := PipelineStatus{Pipeline: p.Pipeline, Candidates: p.Candidates}
		for i, e := range p.Pipeline.Environments {
			status, candidates := find(all, p.Pipeline.App, e)
			whole.Environments = append(whole.Environments, status)
			if i == 0 {
				whole.Candidates = candidates
			}
		}
		merged.Pipelines = append(merged.Pipelines, whole)
	}
	for _, s := range all {
		merged.Problems = append(merged.Problems, s.Problems...)
	}
	return merged
}

// find is what the writer of an environment saw of it, and of its pipeline.
func find(all []Status, app string, e pipeline.Environment) (EnvironmentStatus, map[string]pipeline.Candidate) {
	for _, s := range all {
		if s.Source.Ref != revision.BranchRef(e.Branch) {
			continue
		}
		for _, p := range s.Pipelines {
			at := slices.IndexFunc(p.Environments, func(known EnvironmentStatus) bool { return known.Name == e.Name })
			if p.Pipeline.App == app && at >= 0 {
				return p.Environments[at], p.Candidates
			}
		}
	}
	return EnvironmentStatus{Name: e.Name, Reasons: []string{"the branch " + e.Branch + " was not looked at yet"}}, nil
}
