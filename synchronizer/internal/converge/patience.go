package converge

import (
	"slices"
	"time"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// patience is since when objects are waited for, by the clock of this process that nobody sets: a jump of the wall clock makes
// nothing fail, and spares nothing.
type patience struct {
	since time.Time
	after string // what happened then
}

// newPatience begins to wait now.
func newPatience(after string) patience { return patience{since: now(), after: after} }

// left returns how much of a limit is left; what is not positive is none.
func (w patience) left(limit time.Duration) time.Duration { return time.Until(w.since.Add(limit)) }

// resumedShare is the part of a limit that what a former process recorded may use up.
const resumedShare = 0.75

// resume returns since when was waited that a former process recorded, by a clock that may have been set since: that is not in the
// future, and leaves a part of the limit, unless the former process found that the limit was over.
func resume(recorded time.Time, limit time.Duration, over bool) time.Time {
	most := time.Duration(float64(limit) * resumedShare)
	if over {
		most = limit
	}
	return now().Add(-min(max(time.Since(recorded), 0), most))
}

// resumePatience goes on to wait for the objects of the content that a former process applied.
func (p *pass) resumePatience() {
	status := p.work.status
	if status.Applied == nil {
		return
	}
	over := hasProblem(status, v1alpha1.ProblemHealth)
	p.work.patience = patience{since: resume(status.Applied.Time.Time, p.sync.Spec.HealthDeadline(), over), after: wasApplied}
}

func hasProblem(status v1alpha1.Status, kind v1alpha1.ProblemKind) bool {
	return slices.ContainsFunc(status.Problems, func(problem v1alpha1.Problem) bool { return problem.Kind == kind })
}

// loseHealth notes that what was healthy is so no more, and is waited for anew.
func (p *pass) loseHealth() {
	w := p.work
	if w.status.HealthySince != nil {
		w.status.HealthySince, w.patience = nil, newPatience("was healthy last")
	}
}

// wasApplied is what is waited after, as a rule.
const wasApplied = "was applied"
