package update

import (
	"time"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/policy"
)

// selections keep what policies chose in the last pass and in this one. Every tag of every image is judged for that, and a
// pass follows each look that found something in one of them.
type selections struct {
	now, last map[chooser]selected
}

// chooser is who chooses: an image of a pipeline file as it was read.
type chooser struct {
	pipeline *pipeline.Pipeline
	image    string
}

// selected is what came of an input.
type selected struct {
	tags            []policy.Tag
	current, digest string
	generation      uint64
	selection       policy.Selection
}

// begin forgets what the last pass did not need.
func (s *selections) begin() { s.last, s.now = s.now, map[chooser]selected{} }

// choose asks a policy, unless it was asked the same before: the same tags as Images gave, which are never written to, and
// none of them has become old enough since. A generation is that of the signatures, for an image that has to be signed.
func (s *selections) choose(who chooser, p policy.Policy, in policy.Input, generation uint64) policy.Selection {
	known, asked := s.last[who]
	if !asked || known.generation != generation || !known.answers(in) {
		selection, _ := policy.Select(p, in)
		known = selected{tags: in.Tags, current: in.Current.Name, digest: in.Current.Digest, generation: generation, selection: selection}
	}
	s.now[who] = known
	return known.selection
}

// answers tells whether an input would be answered the same.
func (s selected) answers(in policy.Input) bool {
	ripe := func(at time.Time) bool { return !at.IsZero() && !in.Now.Before(at) }
	return len(in.Tags) > 0 && len(in.Tags) == len(s.tags) && &in.Tags[0] == &s.tags[0] &&
		in.Current.Name == s.current && in.Current.Digest == s.digest && !ripe(s.selection.Again)
}
