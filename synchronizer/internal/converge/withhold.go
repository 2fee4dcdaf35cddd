package converge

import (
	"fmt"

	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// list reports whether everything that the Sync needs has been listed, but for what the API server refuses. That holds
// nothing else up: only the objects of such a kind are withheld, because nobody knows whether they are there, and whose.
func (p *pass) list(all []live.Unlisted) bool {
	w := p.work
	w.refused = nil
	for _, unlisted := range all {
		if unlisted.Refused == nil {
			return false // the store wakes the Sync when it is listed
		}
		w.refused = append(w.refused, unlisted)
	}
	if len(w.refused) > 0 {
		p.soon(watchAgain)
	}
	return true
}

// refusal returns why nothing is known of an object's kind; nil when something is.
func (w *work) refusal(key object.Key) error {
	for _, unlisted := range w.refused {
		if unlisted.Holds(key) {
			return unlisted.Refused
		}
	}
	return nil
}

// withheld leaves a step until its kind can be listed and its images are signed as they must be, and reports whether it did.
func (p *pass) withheld(s plan.Step) bool {
	w := p.work
	cause := w.unsigned[s.Key]
	if refusal := w.refusal(s.Key); refusal != nil {
		cause = fmt.Errorf("%s %w", s.Key, unwatched(refusal))
	}
	if cause == nil {
		return false
	}
	if before, known := w.failures[s.Key]; w.unsigned[s.Key] != nil && (!known || before.hash != hashOf(s) || !before.withheld) {
		p.record(true, "Unsigned", clip(sentence(cause), maxMessage))
	}
	f := failure{hash: hashOf(s), withheld: true, due: now().Add(watchAgain), err: cause}
	if s.Desired != nil {
		f.origin = s.Desired.Origin
	}
	w.failures[s.Key] = f
	return true
}

func unwatched(cause error) error {
	return fmt.Errorf("waits until its kind can be watched: %w", cause)
}
