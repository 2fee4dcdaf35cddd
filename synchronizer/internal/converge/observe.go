package converge

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
)

// observe makes the objects' health the Sync's. It only looks at what the watches know.
func (p *pass) observe() {
	w := p.work
	if w.status.Applied == nil && w.behind == "" || !p.listed {
		return
	}
	waiting := p.count()
	switch {
	case len(w.problems.health) > 0:
		p.loseHealth()
		p.unhealthy(w.problems.health[0].Message)
	case waiting == "" && len(w.failures) == 0 && w.behind == "" && w.status.Applied.ContentID == w.content.String():
		p.healthy()
	default:
		p.loseHealth()
		p.wait(waiting)
	}
}

// count counts the objects by health, lists those that failed, and returns one that is not there yet; empty for none.
func (p *pass) count() (waiting string) {
	w := p.work
	counts := v1alpha1.Counts{Drifted: w.status.Objects.Drifted, NotApplied: int32(w.failing())}
	w.problems.health = nil
	for i := range w.rendered.Objects {
		d := &w.rendered.Objects[i]
		if p.leaves(d) {
			continue
		}
		counts.Total++
		record, known := p.known(d.Key)
		if !known {
			if _, failed := w.failures[d.Key]; !failed && waiting == "" {
				waiting = d.Key.String() + " is not there yet"
			}
			continue
		}
		switch {
		case d.Key == p.self() || record.Health.State == health.Current:
			counts.Current++
		case record.Health.State == health.Failed:
			counts.Failed++
			w.problems.health = append(w.problems.health, healthProblem(d, record.Health.Message))
		default:
			counts.InProgress++
			if waiting == "" {
				waiting = fmt.Sprintf("%s is %s: %s", d.Key, record.Health.State, record.Health.Message)
			}
		}
	}
	w.status.Objects = counts
	return waiting
}

// known is what the watches know about an object.
func (p *pass) known(key object.Key) (live.Record, bool) {
	if p.sync.Spec.Observes() {
		if record, ok := p.loop.deps.Sight.Seen(p.sync.Label(), key); ok {
			return record, true
		}
		// What the Sync owns as it was applied is not asked about, and may have come before it was looked at.
	}
	return p.loop.deps.Live.Get(key)
}

// leaves reports whether an object is not ours to judge: it is skipped, was there before it was to be made once, was removed
// where that is ignored, or is a hook that has run or is not called for.
func (p *pass) leaves(d *render.Desired) bool {
	if cmp.Or(d.Policy.Drift, p.sync.Spec.DriftPolicy()) == v1alpha1.DriftIgnore && p.wasRemoved(d) && p.work.refusal(d.Key) == nil {
		return true
	}
	if d.Policy.Hook != "" && (p.sync.Spec.Observes() || p.wasRemoved(d)) || d.Policy.Hook == v1alpha1.HookOnFailure {
		return true
	}
	switch d.Policy.Apply {
	case v1alpha1.ApplySkip:
		return true
	case v1alpha1.ApplyCreateOnly:
		entry, known := p.work.inventory[d.Key]
		return known && entry.Foreign()
	default:
		return false
	}
}

func healthProblem(d *render.Desired, message string) v1alpha1.Problem {
	return v1alpha1.Problem{
		Kind: v1alpha1.ProblemHealth, Object: d.Key.String(), File: d.Origin.File, Line: d.Origin.Line,
		Message: fmt.Sprintf("%s has failed: %s", d.Key, strings.TrimSuffix(message, ".")) + ".",
	}
}

// healthy notes that everything is Current.
func (p *pass) healthy() {
	w := p.work
	if w.status.HealthySince != nil {
		return
	}
	at := now()
	since := metav1.NewMicroTime(at.Truncate(time.Microsecond))
	w.status.HealthySince = &since
	message := fmt.Sprintf("Healthy at %.12s: all %d objects are Current.", w.verified, len(w.rendered.Objects))
	w.status.Healthy = p.reach(report.Healthy, w.verified, w.content, at, message)
	p.record(false, "Healthy", message)
}

// wait lets the watch wake the Sync, and the clock when objects take too long.
func (p *pass) wait(waiting string) {
	w := p.work
	is, limit := w.patience, p.sync.Spec.HealthDeadline()
	if w.behind != "" {
		is = patience{since: w.behindSince, after: "began to wait for " + w.behind}
		waiting = cmp.Or(w.behindWhy, waiting)
		if len(w.failures) == 0 {
			waiting = cmp.Or(waiting, "it takes longer")
		}
	}
	if left := is.left(limit); left > 0 {
		p.soon(left)
		return
	}
	if waiting == "" { // what could not be applied is a problem of its own
		p.unhealthy(fmt.Sprintf("Not healthy %s after it %s: %d objects could not be applied.", limit, is.after, len(w.failures)))
		return
	}
	problem := v1alpha1.Problem{
		Kind:    v1alpha1.ProblemHealth,
		Message: clip(fmt.Sprintf("Not healthy %s after it %s: %s", limit, is.after, strings.TrimSuffix(waiting, ".")), maxMessage-1) + ".",
	}
	w.problems.health = []v1alpha1.Problem{problem}
	p.unhealthy(problem.Message)
}

// unhealthy says once for each visit of a content that it failed.
func (p *pass) unhealthy(message string) {
	w := p.work
	if p.contentFailed() {
		return
	}
	p.soon(time.Millisecond) // for on-failure hooks
	w.failedAt, w.failedAfter = w.content, w.status.Attempts[string(report.Healthy)]
	p.fact(report.Failed, w.verified, w.content, message)
	p.record(true, "Failed", message)
}

// images returns what the Sync's pods run, sorted.
func (p *pass) images() []report.Image {
	running := p.loop.deps.Live.Images(p.sync.Label())
	images := make([]report.Image, 0, len(running))
	for _, i := range running {
		images = append(images, report.Image{Repository: i.Repository, Tag: i.Tag, Digest: i.Digest})
	}
	slices.SortFunc(images, func(a, b report.Image) int {
		return strings.Compare(a.Repository+"\x00"+a.Tag+"\x00"+a.Digest, b.Repository+"\x00"+b.Tag+"\x00"+b.Digest)
	})
	images = slices.Compact(images)
	return images[:min(len(images), maxImages)]
}

// maxImages bounds the images of a status; it is the protocol's.
const maxImages = 200
