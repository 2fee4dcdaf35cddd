package converge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// noteFailures turns failures into problems, ordered by object. What another Sync owns is a conflict.
func (p *pass) noteFailures() {
	w := p.work
	w.problems.apply, w.problems.owned = nil, nil
	keys := make([]object.Key, 0, len(w.failures))
	for key := range w.failures {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, object.Key.Compare)
	for _, key := range keys {
		f, of := w.failures[key], &w.problems.apply
		if f.owned() {
			of = &w.problems.owned
		}
		*of = append(*of, v1alpha1.Problem{
			Kind: v1alpha1.ProblemApply, Message: sentence(f.err), Object: key.String(), File: f.origin.File, Line: f.origin.Line,
		})
	}
}

// noteHeld asks for consent to removals that the guard holds.
func (p *pass) noteHeld(made plan.Plan) {
	w := p.work
	w.problems.prune = nil
	if len(made.Held) == 0 {
		return
	}
	names := make([]string, 0, len(made.Held))
	for _, s := range made.Held {
		names = append(names, s.Key.String())
	}
	w.problems.prune = []v1alpha1.Problem{{
		Kind: v1alpha1.ProblemPrune, Commit: w.verified.String(),
		Message: fmt.Sprintf("%d of %d owned objects are gone from Git and not removed without consent: %s. To remove them: kubectl -n %s annotate sync %s --overwrite %s=%s",
			len(made.Held), made.Owned, named(names), p.sync.Namespace, p.sync.Name, v1alpha1.AnnotationAllowPrune, p.sync.PruneConsent(w.content.String())),
	}}
}

// noteConflicts lists what another Sync owns.
func (p *pass) noteConflicts(made plan.Plan) {
	w := p.work
	w.problems.conflict = nil
	for _, s := range made.Conflicts {
		w.problems.conflict = append(w.problems.conflict, v1alpha1.Problem{
			Kind: v1alpha1.ProblemApply, Object: s.Key.String(), File: s.Desired.Origin.File, Line: s.Desired.Origin.Line,
			Message: fmt.Sprintf("%s is owned by the Sync %s and left to it; take it out of one of the two.", s.Key, strings.Join(s.Writers, "")),
		})
	}
}
