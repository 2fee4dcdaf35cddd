package scan

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/shared/instant"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

const (
	// maxInspecting is how many images are looked at side by side.
	maxInspecting = 8
	// maxInspections bounds the images of one repository that wait for that. Whoever needs more asks again.
	maxInspections = policy.MaxInspect
	// inspectAttempts is how often an image is tried before it counts as one that cannot be read, until the next look.
	inspectAttempts = 3
)

// inspection is an image that somebody wants to know more about.
type inspection struct {
	next    time.Time // when it is looked at
	attempt int
	running bool
	done    bool   // given up until the next look
	problem string // why it was given up last
}

// Inspect has the images of tags looked at that nobody has looked at yet. It returns at once; what they say is in
// [Snapshot] later, and Changed is called when all of them have been.
func (s *Scanner) Inspect(repository string, tags []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repositories[repository]
	if r == nil {
		return
	}
	for _, tag := range tags {
		known, ok := r.known[tag]
		if !ok || looked(&known) || r.inspections[tag] != nil || len(r.inspections) >= maxInspections {
			continue
		}
		if r.inspections == nil {
			r.inspections = make(map[string]*inspection)
		}
		r.inspections[tag] = &inspection{}
	}
	s.signal()
}

// looked tells whether the image that a tag points to has been looked at.
func looked(tag *store.Tag) bool {
	return tag.Inspected != "" && (tag.Digest == "" || tag.Digest == tag.Inspected)
}

// dueInspections returns the images to look at now, and when the next one is due.
func (s *Scanner) dueInspections(r *repository, now time.Time) (jobs []job, next time.Time) {
	next = now.Add(idle)
	for tag, i := range r.inspections {
		at := instant.Later(i.next, s.paused[r.host])
		switch {
		case i.running || i.done:
		case at.After(now):
			next = instant.Earlier(next, at)
		case s.inspecting < maxInspecting:
			i.running = true
			s.inspecting++
			jobs = append(jobs, func(ctx context.Context) { s.inspect(ctx, r, tag) })
		}
	}
	return jobs, next
}

// inspect looks at one image.
func (s *Scanner) inspect(ctx context.Context, r *repository, tag string) {
	image, err := s.deps.Registry.Inspect(ctx, r.name, tag)
	now := time.Now()
	s.mu.Lock()
	s.inspecting--
	n := s.settleInspection(r, tag, image, err, now)
	if r.inspectionsWait() {
		n = news{} // who waits for one waits for all
	}
	s.mu.Unlock()
	if err != nil {
		s.log(r).Debug("image not inspected", zap.String(telemetry.Tag, tag), zap.Error(err))
	}
	if n.any() && ctx.Err() == nil {
		s.announce(r, n, now)
		s.save(ctx, r, false)
	}
}

func (s *Scanner) settleInspection(r *repository, tag string, image registry.Image, err error, now time.Time) (n news) {
	i := r.inspections[tag]
	i.running = false
	until, paused := s.pause(r.host, err, now)
	switch {
	case paused:
		i.next = until
		return news{}
	case err == nil:
		delete(r.inspections, tag)
		n = r.confirm(tag, image.Digest, now)
		known := r.known[tag]
		known.Inspected, known.Created, known.Platforms = image.Digest, instant.MicrosOf(image.Created), strings.Join(image.Platforms, " ")
		r.set(known)
		n.inspected++
		return n
	case i.attempt+1 < inspectAttempts:
		i.next = now.Add(hintBackoff(i.attempt))
		i.attempt++
		return news{}
	}
	i.done, i.problem = true, err.Error()[:min(maxErrorText, len(err.Error()))]
	r.stale = true
	n.inspected++
	return n
}

// inspectionsWait tells whether some of a repository's images are still to be looked at.
func (r *repository) inspectionsWait() bool {
	for _, i := range r.inspections {
		if !i.done && i.problem == "" {
			return true
		}
	}
	return false
}

// retryInspections has what could not be read tried again, and forgets it where the tag is gone.
func (r *repository) retryInspections(now time.Time) {
	for tag, i := range r.inspections {
		known, ok := r.known[tag]
		switch {
		case i.running:
		case !ok || known.LastSeen != 0:
			delete(r.inspections, tag)
			r.stale = true
		case i.done:
			i.done, i.attempt, i.next = false, 0, now
		}
	}
}

// forPolicy is a tag as policies want it.
func (r *repository) forPolicy(tag *store.Tag) policy.Tag {
	out := policy.Tag{Name: tag.Name, Digest: tag.Digest, Pushed: tag.LastMoved().Time()}
	if looked(tag) {
		out.Inspected, out.Created, out.Platforms = true, tag.Created.Time(), strings.Fields(tag.Platforms)
	} else if i := r.inspections[tag.Name]; i != nil {
		out.Problem = i.problem
	}
	return out
}
