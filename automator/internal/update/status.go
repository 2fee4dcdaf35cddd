package update

import (
	"time"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// Status is what a pass saw. It is never written to after it was published.
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
	// Environments are in the order of promotion.
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
