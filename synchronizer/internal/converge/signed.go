package converge

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// Signatures knows whether what objects run is signed as this cluster's administrator demands.
type Signatures interface {
	// Check returns, by the index of each object of a Sync, why it may not be written; nil if it may. It waits for what the automator is
	// asked for a few seconds at most, until ctx is done, and refuses the rest with evidence.ErrUnknown. after is when the answer may
	// be another one; 0 if time changes nothing.
	Check(ctx context.Context, label string, objects []*unstructured.Unstructured) (refusals []error, after time.Duration)
	// Hurry has what is not signed asked about soon, although its time has not come.
	Hurry(objects []*unstructured.Unstructured)
}

// attest finds out which of the objects that are about to be written have images that are not signed as they must be: they are left,
// and only they. It reports false when newer content arrived meanwhile, or the Sync is another one.
func (p *pass) attest(ctx context.Context, steps []plan.Step) bool {
	w, l := p.work, p.loop
	w.unsigned, p.attested = nil, map[object.Key]bool{}
	writes := p.writes(steps)
	if l.deps.Signatures == nil || len(writes) == 0 {
		return true
	}
	if err := p.load(ctx, writes); err != nil {
		p.failed("objects not read", err)
		return false
	}
	objects := make([]*unstructured.Unstructured, 0, len(writes))
	for _, s := range writes {
		objects = append(objects, s.Desired.Object)
	}
	if w.hurried {
		w.hurried = false
		l.deps.Signatures.Hurry(objects)
	}
	ctx, end := p.supersedable(ctx)
	defer end()
	l.rise() // others can use the worker while this waits for the automator
	refusals, after := l.deps.Signatures.Check(ctx, p.sync.Label(), objects)
	l.sit()
	if ctx.Err() != nil || p.outdated() {
		return false
	}
	w.unsigned = map[object.Key]error{}
	for i, s := range writes {
		p.attested[s.Key] = true
		if refusals[i] != nil {
			w.unsigned[s.Key] = fmt.Errorf("%s is not applied: %w", s.Key, refusals[i])
		}
	}
	if after > 0 {
		p.soon(after)
	}
	return true
}

// outdated reports whether the Sync was changed or removed since the pass began: it is queued, and what was planned does not count.
func (p *pass) outdated() bool {
	l := p.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[p.key]
	return e == nil || e.gone || e.sync == nil || isRelevant(p.sync, e.sync)
}

// unattested reports whether a step writes what nobody has looked at: its time came only after attest.
func (p *pass) unattested(s plan.Step) bool {
	return p.loop.deps.Signatures != nil && s.Action == plan.Apply && !p.attested[s.Key]
}

// writes are the steps that are due and write something.
func (p *pass) writes(steps []plan.Step) (writes []plan.Step) {
	for _, s := range steps {
		if s.Action == plan.Apply && p.work.refusal(s.Key) == nil && p.waitOf(s) <= 0 {
			writes = append(writes, s)
		}
	}
	return writes
}

// waitOf returns for how long a step that failed is not taken again.
func (p *pass) waitOf(s plan.Step) time.Duration {
	f, failed := p.work.failures[s.Key]
	if !failed || f.withheld || f.hash != hashOf(s) {
		return 0
	}
	return time.Until(f.due)
}
