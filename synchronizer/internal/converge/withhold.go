package converge

import (
	"errors"
	"fmt"

	"github.com/tandem-cd/tandem/synchronizer/internal/evidence"
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
	if before, known := w.failures[s.Key]; w.unsigned[s.Key] != nil && (!known || before.hash != hashOf(s) || !before.withheld || isUnknown(before.err) != isUnknown(cause)) {
		p.withholds.add(s.Key, cause)
	}
	f := failure{hash: hashOf(s), withheld: true, due: now().Add(watchAgain), err: cause}
	if s.Desired != nil {
		f.origin = s.Desired.Origin
	}
	w.failures[s.Key] = f
	return true
}

// withholds are the objects that a pass found to have images that may not run.
type withholds struct{ unsigned, unknown []string }

func (w *withholds) add(key object.Key, cause error) {
	if isUnknown(cause) {
		w.unknown = append(w.unknown, key.String())
	} else {
		w.unsigned = append(w.unsigned, key.String())
	}
}

// isUnknown reports whether an object is withheld only until the automator answers.
func isUnknown(cause error) bool { return errors.Is(cause, evidence.ErrUnknown) }

// tellWithheld says which objects are left because of their images; the status says why.
func (p *pass) tellWithheld() {
	if left := p.withholds.unsigned; len(left) > 0 {
		p.record(true, "Unsigned", clip("Not applied, since images are not signed as this cluster demands: "+named(left)+".", maxMessage))
	}
	if left := p.withholds.unknown; len(left) > 0 {
		p.record(true, "SignaturesUnknown", clip("Not applied, since it is not known yet whether images are signed: "+named(left)+".", maxMessage))
	}
}

func unwatched(cause error) error {
	return fmt.Errorf("waits until its kind can be watched: %w", cause)
}
