package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/instant"
	"github.com/tandem-cd/tandem/shared/signature"
)

// afterUnsigned is how long an image that is not signed is left alone.
func afterUnsigned() backoff.Backoff {
	return backoff.Backoff{Min: 5 * time.Second, Max: 30 * time.Minute}
}

// afterFailure is how long a registry that did not answer is left alone.
func afterFailure() backoff.Backoff {
	return backoff.Backoff{Min: 10 * time.Second, Max: 5 * time.Minute}
}

// limited is what an error of a registry that wants a pause says.
type limited interface {
	error
	RetryAfter() time.Duration
}

// Run checks what is asked for, until the context is done.
func (c *Checker) Run(ctx context.Context) error {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	reload := time.NewTicker(reloadEvery)
	defer reload.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, wait := c.due(time.Now())
		for _, k := range due {
			jobs.Go(func() {
				c.run(ctx, k)
				c.signal()
			})
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.wake:
		case <-timer.C:
		case <-reload.C:
			c.reload()
		}
	}
}

// due takes what is to be checked now, and returns how long there is nothing else to do.
func (c *Checker) due(now time.Time) (taken []key, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := now.Add(forgetAfter)
	before := len(c.checks)
	var ready []key
	for k, known := range c.checks {
		switch {
		case known.running:
		case now.Sub(known.asked) >= forgetAfter:
			c.forget(k)
		case known.settled && known.verdict.Kept:
		case known.next.After(now):
			next = instant.Earlier(next, known.next)
		default:
			ready = append(ready, k)
		}
	}
	if len(c.checks) < before {
		c.generation++ // whoever still wants to know has it checked again
		c.deps.Changed()
	}
	return c.take(ready), next.Sub(now)
}

// take gives places to what is ready, new ones first. What finds none is looked at again when another one ends.
func (c *Checker) take(ready []key) (taken []key) {
	slices.SortFunc(ready, func(a, b key) int { return c.checks[a].next.Compare(c.checks[b].next) })
	for _, k := range ready {
		if c.running < concurrency && c.atHost[k.host()] < perHost {
			c.checks[k].running = true
			c.running++
			c.atHost[k.host()]++
			taken = append(taken, k)
		}
	}
	return taken
}

// run resolves one tag, or checks one image.
func (c *Checker) run(ctx context.Context, k key) {
	began := time.Now()
	c.mu.Lock()
	verifier, tag, first := c.checks[k].verifier, c.checks[k].tag, c.checks[k].attempt == 0
	c.mu.Unlock()
	var settle func(now time.Time) bool
	if k.digest == "" {
		digest, err := c.deps.Registry.Digest(ctx, k.repository, k.tag)
		settle = func(now time.Time) bool { return c.resolved(k, digest, err, now) }
	} else {
		verdict, err := c.verify(ctx, verifier, signature.Image{Repository: k.repository, Digest: k.digest}, first)
		c.metrics.checked(began, verdict, err)
		if err == nil && !verdict.Kept && !first {
			c.deps.Registry.Hint(k.repository, tag) // it may have been pushed again, and signed then
		}
		settle = func(now time.Time) bool { return c.checks[k].conclude(now, verdict, err) }
	}
	if ctx.Err() != nil {
		return // we are going down: what failed says nothing about the image
	}
	c.mu.Lock()
	c.running--
	if c.atHost[k.host()]--; c.atHost[k.host()] == 0 {
		delete(c.atHost, k.host())
	}
	c.checks[k].running = false
	changed := settle(time.Now())
	if changed {
		c.generation++
	}
	c.mu.Unlock()
	if changed {
		c.deps.Changed()
	}
}

// resolved takes what a tag points to, which is what is checked then, and tells whether an answer changed.
func (c *Checker) resolved(k key, digest string, err error, now time.Time) bool {
	if err != nil {
		return c.checks[k].conclude(now, signature.Verdict{}, err)
	}
	known := c.want(key{repository: k.repository, digest: digest, rules: k.rules}, k.tag, c.checks[k].verifier)
	c.forget(k)
	return known != nil && known.settled
}

// verify asks the store, which knows what was signed before, and then the registry.
func (c *Checker) verify(ctx context.Context, v *signature.Verifier, image signature.Image, first bool) (signature.Verdict, error) {
	if first {
		by, found, err := c.deps.Store.Verified(ctx, image.Repository, image.Digest, v.ID())
		if err != nil && ctx.Err() == nil {
			c.deps.Log.Warn("verdicts on signatures not read", zap.Error(err))
		}
		if found && err == nil {
			return signature.Verdict{Kept: true, By: by}, nil
		}
	}
	material, err := c.deps.Registry.Signatures(ctx, image.Repository, image.Digest)
	if err != nil {
		return signature.Verdict{}, err
	}
	verdict := v.Verify(image, material)
	if verdict.Kept {
		if err := c.deps.Store.PutVerified(ctx, image.Repository, image.Digest, v.ID(), verdict.By); err != nil && ctx.Err() == nil {
			c.deps.Log.Warn("verdict on signatures not written", zap.Error(err)) // it is only asked again
		}
	}
	return verdict, nil
}

// conclude records what came of a check, and tells whether it is news. That the registry does not answer is no verdict, unless
// it goes on for too long.
func (c *check) conclude(now time.Time, verdict signature.Verdict, err error) bool {
	before := *c
	again := afterUnsigned().Delay(c.attempt)
	if err != nil {
		verdict.Reason = fmt.Sprintf("it cannot be told who has signed it, which is tried again: %v", err)
		again = afterFailure().Delay(c.attempt)
	}
	if wish, ok := errors.AsType[limited](err); ok {
		again = wish.RetryAfter()
	}
	if err == nil {
		c.settled, c.failing = true, time.Time{}
	} else {
		if c.failing.IsZero() {
			c.failing = now
		}
		left := patience - now.Sub(c.failing)
		c.settled = c.settled || left <= 0
		if !c.settled {
			again = min(again, left) // a registry that wants a longer pause is not sent anything: its client answers in its stead
		}
	}
	c.verdict, c.last, c.next = verdict, now, now.Add(again)
	c.attempt++
	return c.settled != before.settled || c.verdict.Kept != before.verdict.Kept || c.verdict.Reason != before.verdict.Reason
}
