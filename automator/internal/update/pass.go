package update

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/shared/telemetry"
)

// pass looks at everything once, writes what is waiting, and returns how long there is nothing to do unless woken.
func (u *Updater) pass(ctx context.Context) time.Duration {
	if wait := time.Until(u.trouble.nextLook); wait > 0 {
		return wait
	}
	began := time.Now()
	defer func() { u.metrics.seconds.WithLabelValues().Observe(time.Since(began).Seconds()) }()
	v, err := u.see(ctx)
	absent, isAbsent := errors.AsType[*absentError](err)
	switch {
	case isAbsent:
		u.publish(u.withoutBranch(absent))
		return idle
	case err != nil:
		u.metrics.passes.WithLabelValues(notLooked).Inc()
		return u.lookFailed(ctx, err)
	}
	u.metrics.passes.WithLabelValues(looked).Inc()
	c := v.edit(u.committer.takes)
	if len(c.files) == 0 {
		u.trouble = trouble{}
	}
	v.problems = slices.Concat(v.problems, c.problems, u.committer.problems())
	u.tellOf(ctx, v, c)
	if u.trouble.problem != nil && !slices.Contains(v.problems, *u.trouble.problem) {
		v.problems = append(v.problems, *u.trouble.problem)
	}
	u.publish(u.statusOf(v))
	if len(c.files) == 0 {
		return u.untilNext()
	}
	if wait := time.Until(u.trouble.nextPush); wait > 0 {
		return wait
	}
	return u.write(ctx, v, c)
}

// see looks at the branch's tip and decides. After a push that did not end
// well it looks at the remote first.
func (u *Updater) see(ctx context.Context) (*view, error) {
	if u.trouble.unsure {
		if err := u.deps.Repository.FetchRef(ctx, u.cfg.Source.Ref); err != nil {
			return nil, err
		}
		u.trouble.unsure = false
	}
	tip, ok := u.deps.Repository.Tip(u.cfg.Source.Ref)
	if !ok {
		return nil, &absentError{u.cfg.Source}
	}
	if err := u.committer.settle(ctx, tip); err != nil {
		return nil, err
	}
	u.surveys.begin()
	v, err := u.look(ctx, tip)
	if err != nil {
		return nil, err
	}
	ours, err := u.follow(ctx, tip, u.paths(v))
	if err != nil {
		return nil, err
	}
	for _, commit := range ours {
		u.tellCommitted(ctx, commit.id, commit.by.When, u.toTell(v, commit.groups))
	}
	return v, u.decide(ctx, v)
}

// untilNext is when the loop has to look again by itself.
func (u *Updater) untilNext() time.Duration {
	wait := idle
	for _, next := range []time.Time{u.nextQuestion(), u.ripe} {
		if !next.IsZero() {
			wait = min(wait, max(0, time.Until(next)))
		}
	}
	return wait
}

// write commits all that is waiting.
func (u *Updater) write(ctx context.Context, v *view, c change) time.Duration {
	outdated, err := u.outdated(ctx)
	switch {
	case err != nil:
		return u.lookFailed(ctx, err)
	case outdated:
		return 0
	}
	began := time.Now()
	id, err := u.committer.commit(ctx, v.tip, c.files, u.message(c.groups))
	u.metrics.pushed(began, err)
	if err != nil {
		return u.pushFailed(ctx, v.tip, err)
	}
	u.trouble = trouble{}
	u.log.Info("commit pushed", zap.Stringer(telemetry.Commit, id), zap.Duration(telemetry.Duration, time.Since(began)))
	u.tellCommitted(ctx, id, time.Now(), c.groups)
	return 0 // what arrived meanwhile is next
}
