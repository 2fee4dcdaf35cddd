package update

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/githost"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

// afterFailure is how long to wait for what has to be mended elsewhere.
func afterFailure() backoff.Backoff { return backoff.Backoff{Min: 2 * time.Second, Max: time.Minute} }

// trouble is what went wrong since the branch was last as it should be.
type trouble struct {
	// unsure is whether the remote has to be looked at before anything else.
	unsure bool
	// looks and pushes count failures in a row; pushes failed since a time.
	looks, pushes int
	since         time.Time
	// nextLook and nextPush are when it may be tried again.
	nextLook, nextPush time.Time
	// problem is what people are shown.
	problem *Problem
}

// lookFailed takes note of a pass that saw nothing and returns when to try again.
func (u *Updater) lookFailed(ctx context.Context, err error) time.Duration {
	if ctx.Err() != nil {
		return idle // we are going down, and the failure says nothing
	}
	t := &u.trouble
	wait := afterFailure().Delay(t.looks)
	t.looks++
	t.nextLook = time.Now().Add(wait)
	u.shown(Problem{Problem: pipeline.Problem{Message: err.Error()}})
	u.log.Debug("branch not looked at", zap.Int(telemetry.Attempt, t.looks), zap.Error(err))
	return wait
}

// pushFailed takes note of a push that was not taken, as far as is known. The next pass looks at the remote:
// that tells whether it was, and what to write instead.
func (u *Updater) pushFailed(ctx context.Context, tip gitobject.ID, err error) time.Duration {
	if ctx.Err() != nil {
		return idle
	}
	t := &u.trouble
	now := time.Now()
	if t.pushes == 0 {
		t.since = now
	}
	lost := fault.Is(err, fault.Conflict)
	tired := now.Sub(t.since) >= u.cfg.Patience
	attempt := t.pushes
	t.pushes++
	t.unsure = true
	u.log.Debug("push not taken", zap.Int(telemetry.Attempt, t.pushes), zap.Error(err))
	if lost && !tired {
		// It happens, and concerns nobody. Who waits does so before he looks: what he saw must be new when he pushes.
		wait := u.committer.afterRace().Delay(attempt)
		t.nextLook = now.Add(wait)
		return wait
	}
	wait := afterFailure().Delay(attempt)
	if tired {
		wait = u.cfg.Patience
	}
	if later, ok := errors.AsType[*githost.LaterError](err); ok {
		wait = max(wait, scattered(later.After))
	}
	t.nextPush = now.Add(wait)
	problem := Problem{Problem: pipeline.Problem{Message: err.Error()}, Refused: tired || fault.Is(err, fault.Unauthorized) || fault.Is(err, fault.Invalid)}
	first := u.shown(problem)
	if problem.Refused && first {
		u.tellRejected(ctx, problem, tip.String())
	}
	return 0
}

// scattered is a pause that a host asks all writers of an installation for, and a tenth more at most, so that they do not all
// come at the same instant when it ends.
func scattered(pause time.Duration) time.Duration { return pause + rand.N(pause/10+time.Second) }

// shown puts a problem where people see it, and tells whether it is new.
func (u *Updater) shown(problem Problem) (first bool) {
	first = u.trouble.problem == nil || u.trouble.problem.Refused != problem.Refused
	if first {
		u.log.Warn("branch not written", zap.String(telemetry.State, problem.Message))
	}
	before := u.trouble.problem
	u.trouble.problem = &problem
	s := u.Status()
	if s.Problems = without(s.Problems, before); !slices.Contains(s.Problems, problem) {
		s.Problems = append(s.Problems, problem)
	}
	u.publish(s)
	return first
}

// without is a list but for one problem; the list itself stays as it is, since others may be reading it.
func without(problems []Problem, gone *Problem) []Problem {
	kept := make([]Problem, 0, len(problems)+1)
	for _, p := range problems {
		if gone == nil || p != *gone {
			kept = append(kept, p)
		}
	}
	return kept
}
