package synchronizer

import (
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
)

// facts hands what happens to the automator and to our own StatusService.
type facts struct {
	reporter *report.Reporter
	recent   *fleet.Recent
	fleet    *fleet.State
	cluster  string
}

// Fact reports what happened.
func (f facts) Fact(fact report.Fact) { f.recent.Add(f.reporter.Fact(fact)) }

// Status replaces the status of a Sync.
func (f facts) Status(sync *v1alpha1.Sync, unverified bool, images []report.Image) error {
	return f.reporter.Status(sync, unverified, images)
}

// Removed forgets a Sync.
func (f facts) Removed(namespace, name string) {
	f.fleet.Remove(fleet.Key{Cluster: f.cluster, Namespace: namespace, Name: name})
}
