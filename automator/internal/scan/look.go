package scan

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

// maxErrorText bounds the error that is remembered of a look, in bytes.
const maxErrorText = 1000

// errCut is why a look that got an answer was not complete.
var errCut = errors.New("the registry ended its list of tags at a full page without a link to more, so tags may be missing; those that are listed are used")

// load takes a repository from the cache.
func (s *Scanner) load(ctx context.Context, r *repository) {
	scan, tags, err := s.deps.Cache.Tags(ctx, r.name)
	now := time.Now()
	if err != nil && ctx.Err() == nil {
		s.log(r).Warn("tag cache not read", zap.Error(err))
	}
	n := s.learn(r, func() news { return r.restore(scan, tags) })
	s.mu.Lock()
	s.asks--
	r.busy = false
	if r.next.IsZero() { // else a hint came first
		r.next = s.firstLook(scan.LastAttempt, now)
	}
	s.mu.Unlock()
	s.announce(r, n, now)
}

// look asks for the tags of a repository and for the digests of the moving ones.
func (s *Scanner) look(ctx context.Context, r *repository, moving []string) {
	began := time.Now()
	tags, complete, err := s.deps.Registry.Tags(ctx, r.name)
	if err == nil && !complete {
		err = errCut
	}
	digests := make(map[string]string, len(moving))
	for _, tag := range moving {
		if _, stop := errors.AsType[limited](err); stop || ctx.Err() != nil {
			break
		}
		digest, askErr := s.deps.Registry.Digest(ctx, r.name, tag)
		if askErr != nil {
			err = errors.Join(err, askErr)
			continue
		}
		digests[tag] = digest
	}
	s.metrics.looked(began, err)

	now := time.Now()
	var before string
	n := s.learn(r, func() (n news) {
		n = r.merge(tags, complete, began, now)
		for tag, digest := range digests {
			n = n.plus(r.confirm(tag, digest, now))
		}
		r.retryInspections(now)
		before = r.scan.LastError
		if ctx.Err() == nil {
			r.record(complete, err, now)
		}
		return n
	})
	s.mu.Lock()
	s.looks--
	if s.atHost[r.host]--; s.atHost[r.host] == 0 {
		delete(s.atHost, r.host)
	}
	r.busy = false
	if errors.Is(err, errCut) && len(digests) == len(moving) {
		s.reschedule(r, nil, now)
	} else {
		s.reschedule(r, err, now)
	}
	s.mu.Unlock()
	if ctx.Err() != nil {
		return // we are going down: what failed says nothing about the registry
	}
	s.report(r, before, err)
	s.announce(r, n, now)
	if s.isUneventful(r, before) {
		return
	}
	s.save(ctx, r, true)
}

// isUneventful tells whether the last look changed nothing that the cache has, but for its time. That is recorded later: what a
// crash takes of it is when it was looked at, and the next process looks at once.
func (s *Scanner) isUneventful(r *repository, before string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	uneventful := len(r.dirty) == 0 && r.scan.LastError == before
	if uneventful {
		s.uneventful[r.name] = true
	}
	return uneventful
}

// record writes to the cache when looks were made that found nothing.
func (s *Scanner) record(ctx context.Context) {
	scans := s.takeUneventful()
	err := s.deps.Cache.PutScans(ctx, scans)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recording, s.recorded = false, time.Now()
	if err == nil {
		return
	}
	for name := range scans {
		s.uneventful[name] = true
	}
	if ctx.Err() == nil {
		s.deps.Log.Warn("looks not recorded", zap.Error(err))
	}
}

func (s *Scanner) takeUneventful() map[string]store.Scan {
	s.mu.Lock()
	defer s.mu.Unlock()
	scans := make(map[string]store.Scan, len(s.uneventful))
	for name := range s.uneventful {
		if r := s.repositories[name]; r != nil {
			scans[name] = r.scan
		}
	}
	clear(s.uneventful)
	return scans
}

// record takes note of how a look went.
func (r *repository) record(complete bool, err error, now time.Time) {
	r.scan.LastAttempt = now
	if complete {
		r.scan.LastComplete = now
	}
	r.scan.LastError = ""
	if err != nil {
		r.scan.LastError = err.Error()[:min(maxErrorText, len(err.Error()))]
	}
}

// report logs when a look begins to fail and when it works again.
func (s *Scanner) report(r *repository, before string, err error) {
	switch {
	case err != nil && before == "":
		s.log(r).Warn("image repository not seen completely", zap.Error(err))
	case err != nil:
		s.log(r).Debug("image repository still not seen completely", zap.Error(err))
	case before != "":
		s.log(r).Info("image repository seen completely again")
	}
}

// askHint asks for the digest of one tag.
func (s *Scanner) askHint(ctx context.Context, r *repository, tag string) {
	digest, err := s.deps.Registry.Digest(ctx, r.name, tag)
	s.metrics.hinted(err)
	now := time.Now()
	var n news
	if err == nil {
		n = s.learn(r, func() news { return r.confirm(tag, digest, now) })
	}
	s.mu.Lock()
	s.asks--
	s.settle(r, tag, err, now)
	s.mu.Unlock()
	if err != nil {
		s.log(r).Debug("hint not confirmed", zap.String(telemetry.Tag, tag), zap.Error(err))
		return
	}
	s.announce(r, n, now)
	s.save(ctx, r, false)
}

// settle decides what becomes of a hint that was asked.
func (s *Scanner) settle(r *repository, tag string, err error, now time.Time) {
	h := r.hints[tag]
	h.running = false
	until, paused := s.pause(r.host, err, now)
	switch {
	case paused:
		h.next = until
	case h.again:
		// Whatever the answer was, it may be from before the second hint.
		h.again, h.next = false, now
	case err == nil:
		delete(r.hints, tag)
	case h.attempt+1 < hintAttempts:
		h.next = now.Add(hintBackoff(h.attempt))
		h.attempt++
	default:
		delete(r.hints, tag)
		if !fault.Is(err, fault.NotFound) {
			r.lookSoon(now)
		}
	}
}

// learn changes what is known of a repository, unless it is not followed any more.
func (s *Scanner) learn(r *repository, change func() news) news {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.repositories[r.name] != r {
		return news{}
	}
	return change()
}

// announce tells whoever wants to know that something changed.
func (s *Scanner) announce(r *repository, n news, at time.Time) {
	if !n.any() {
		return
	}
	s.metrics.news.WithLabelValues().Inc()
	s.log(r).Debug("image tags changed", zap.Int("added", n.added), zap.Int("vanished", n.vanished), zap.Int("moved", n.moved), zap.Int("resolved", n.resolved), zap.Int("inspected", n.inspected))
	s.deps.Changed(r.name, at)
}

// save writes what changed to the cache, one writer at a time, so that the newest state is what stays.
func (s *Scanner) save(ctx context.Context, r *repository, always bool) {
	select {
	case r.saving <- struct{}{}:
		defer func() { <-r.saving }()
	case <-ctx.Done():
		return
	}
	s.mu.Lock()
	scan, changed := r.scan, r.takeDirty()
	s.mu.Unlock()
	if len(changed) == 0 && !always {
		return
	}
	if err := s.deps.Cache.PutTags(ctx, r.name, scan, changed); err != nil {
		s.mu.Lock()
		for _, tag := range changed {
			r.soil(tag.Name)
		}
		s.mu.Unlock()
		s.log(r).Warn("tag cache not written", zap.Error(err))
	}
}

func (s *Scanner) log(r *repository) *zap.Logger {
	return s.deps.Log.With(zap.String(telemetry.Repository, r.name))
}
