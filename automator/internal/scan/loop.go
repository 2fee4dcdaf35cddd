package scan

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/instant"
)

// How the loop waits.
const (
	// maxAsks is how many hints and loads are under way at a time. They are short, and have no part in the looks' number:
	// a hint must not wait for a registry that is slow to list.
	maxAsks = 16
	// hintAttempts is how often a hint is asked when the registry does not know the tag yet, or fails.
	hintAttempts = 6
	// recordEvery is how often looks that found nothing are recorded, all of them at once.
	recordEvery = 15 * time.Second
	// idle is the longest sleep.
	idle = time.Hour
	// retryFloor is the least time between two looks that fail.
	retryFloor = 5 * time.Second
	// retryCeiling is the most, unless the interval is longer.
	retryCeiling = 30 * time.Minute
)

// hintBackoff returns how long a hint waits after an attempt. It is short: somebody waits for the image, and the registry
// said itself that it is there.
func hintBackoff(attempt int) time.Duration {
	return backoff.Backoff{Min: 250 * time.Millisecond, Max: 4 * time.Second}.Delay(attempt)
}

// limited is what an error of a registry that wants a pause says.
type limited interface {
	error
	RetryAfter() time.Duration
}

// Run looks, until the context is done.
func (s *Scanner) Run(ctx context.Context) error {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, wait := s.due(time.Now())
		for _, job := range due {
			jobs.Go(func() {
				job(ctx)
				s.signal()
			})
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// job is something to do now.
type job func(ctx context.Context)

// due takes what is to be done now, and returns how long there is nothing else to do. What has to wait for a place waits
// for the end of a job, which wakes the loop.
func (s *Scanner) due(now time.Time) (jobs []job, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := now.Add(idle)
	var ready []*repository
	for _, r := range s.repositories {
		if r.quiet() && (r.busy || r.next.After(next)) {
			continue // most of them, at every wake
		}
		if !r.loaded {
			if job := s.startLoad(r); job != nil {
				jobs = append(jobs, job)
			}
			continue
		}
		for tag, h := range r.hints {
			at := instant.Later(h.next, s.paused[r.host])
			switch {
			case h.running:
			case at.After(now):
				next = instant.Earlier(next, at)
			default:
				if job := s.startHint(r, tag, h); job != nil {
					jobs = append(jobs, job)
				}
			}
		}
		inspect, at := s.dueInspections(r, now)
		jobs, next = append(jobs, inspect...), instant.Earlier(next, at)
		at = instant.Later(r.next, s.paused[r.host])
		switch {
		case r.busy:
		case at.After(now):
			next = instant.Earlier(next, at)
		default:
			ready = append(ready, r)
		}
	}
	record, at := s.startRecord(now)
	jobs, next = append(jobs, record...), instant.Earlier(next, at)
	slices.SortFunc(ready, func(a, b *repository) int { return a.next.Compare(b.next) })
	for _, r := range ready {
		if job := s.startLook(r); job != nil {
			jobs = append(jobs, job)
		}
	}
	return jobs, next.Sub(now)
}

func (s *Scanner) startLoad(r *repository) job {
	if r.busy || s.asks >= maxAsks {
		return nil
	}
	r.busy = true
	s.asks++
	return func(ctx context.Context) { s.load(ctx, r) }
}

func (s *Scanner) startHint(r *repository, tag string, h *hint) job {
	if s.asks >= maxAsks {
		return nil
	}
	h.running = true
	s.asks++
	return func(ctx context.Context) { s.askHint(ctx, r, tag) }
}

func (s *Scanner) startLook(r *repository) job {
	if s.looks >= s.cfg.Concurrency || s.atHost[r.host] >= max(1, s.cfg.Concurrency/2) {
		return nil
	}
	r.busy, r.urgent = true, false
	s.looks++
	s.atHost[r.host]++
	moving := r.moving
	return func(ctx context.Context) { s.look(ctx, r, moving) }
}

// startRecord has looks that found nothing recorded, and returns when that is due.
func (s *Scanner) startRecord(now time.Time) (jobs []job, next time.Time) {
	at := s.recorded.Add(recordEvery)
	switch {
	case s.recording || len(s.uneventful) == 0:
		return nil, now.Add(idle)
	case at.After(now):
		return nil, at
	}
	s.recording = true
	return []job{s.record}, now.Add(idle)
}

// reschedule sets when a repository is looked at next, by how the last look went.
func (s *Scanner) reschedule(r *repository, err error, now time.Time) {
	interval := r.interval(time.Duration(s.cfg.Interval), now)
	defer func() {
		if r.urgent {
			r.next = now
		}
	}()
	if until, paused := s.pause(r.host, err, now); paused {
		r.next = until.Add(rand.N(interval / 10))
		return
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		retry := backoff.Backoff{Min: 2 * retryFloor, Max: max(interval, retryCeiling)}
		r.next = now.Add(retryFloor + retry.Delay(r.failed))
		r.failed++
		return
	}
	// A repository that does not exist is an answer; it may exist at any time.
	r.failed = 0
	if r.looked {
		r.next = now.Add(interval - interval/10 + rand.N(interval/5))
		return
	}
	// All repositories were looked at together when the process began. From now on they are spread over the interval.
	r.looked = true
	r.next = now.Add(minInterval + rand.N(interval-minInterval+1))
}

// firstLookWithin is how soon after the start a repository is looked at that the cache knows already.
const firstLookWithin = 10 * time.Second

// firstLook returns when a repository is looked at for the first time by this process: soon, whatever the cache says of the
// last look, because a hint that the process before took and did not live to follow is known to nobody.
func (s *Scanner) firstLook(lastAttempt, now time.Time) time.Time {
	next := lastAttempt.Add(time.Duration(s.cfg.Interval))
	if lastAttempt.After(now) || next.Before(now) {
		return now
	}
	return instant.Earlier(next, now.Add(rand.N(firstLookWithin)))
}

// pause takes note of a registry's wish for a pause, if the error is one, and returns until when it is left alone.
func (s *Scanner) pause(host string, err error, now time.Time) (until time.Time, paused bool) {
	wish, ok := errors.AsType[limited](err)
	if !ok {
		return time.Time{}, false
	}
	until = instant.Later(now.Add(wish.RetryAfter()), s.paused[host])
	s.paused[host] = until
	return until, true
}
