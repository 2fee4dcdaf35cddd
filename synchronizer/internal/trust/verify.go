package trust

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// Verify decides how far the chain may be believed. The error is about reading
// objects; the verdict beside it holds as far as it goes.
func Verify(ctx context.Context, req Request) (Verdict, error) {
	if req.Policy.mode == Relay {
		return Verdict{Verified: req.last().ID, Unverified: true}, nil
	}
	v, err := newVerifier(req)
	if err != nil {
		return Verdict{}, err
	}
	sealed, unsealed, err := v.seal(ctx)
	if err != nil || sealed {
		return v.result(), err
	}
	for i := range v.steps {
		if err := v.step(ctx, i); err != nil {
			return v.result(), fmt.Errorf("verify commit %s: %w", v.steps[i].ID, err)
		}
		if r := v.verdict.Refusal; r != nil {
			r.Unsealed = unsealed
			break
		}
	}
	return v.result(), nil
}

// verifier is the state of one verification.
type verifier struct {
	Request

	read    *reader
	steps   []link
	at      place // the last verified commit
	verdict Verdict
	signers map[string]bool
}

// place is a verified commit and its tree; zero at first contact.
type place struct {
	id   gitobject.ID
	tree gitobject.ID
	when time.Time
}

// link is a step with what was found out about it.
type link struct {
	Step

	commit *gitobject.Commit // nil until opened
	failed error             // why it does not open
}

func newVerifier(req Request) (*verifier, error) {
	if len(req.Steps) > MaxSteps {
		return nil, fmt.Errorf("a chain of %d commits is longer than %d", len(req.Steps), MaxSteps)
	}
	var err error
	if req.Paths, err = revision.CleanPaths(req.Paths); err != nil {
		return nil, err
	}
	if len(req.Paths) == 0 {
		req.Paths = []string{""}
	}
	v := &verifier{Request: req, read: newReader(req.Trees, req.Blobs), signers: map[string]bool{}}
	for _, s := range req.Steps {
		v.steps = append(v.steps, link{Step: s})
	}
	if req.Held.ID.IsZero() {
		return v, nil
	}
	if len(v.steps) > 0 && v.steps[0].ID == req.Held.ID {
		v.steps = v.steps[1:]
	}
	held := link{Step: req.Held}
	if !held.open() {
		return nil, fmt.Errorf("the last verified commit: %w", held.failed)
	}
	v.move(&held)
	return v, nil
}

// open checks and decodes a commit, once.
func (l *link) open() bool {
	if l.commit == nil && l.failed == nil {
		l.commit, l.failed = decode(l.Step)
	}
	return l.failed == nil
}

func decode(s Step) (*gitobject.Commit, error) {
	if err := gitobject.Check(s.ID, gitobject.TypeCommit, s.Raw); err != nil {
		return nil, err
	}
	return gitobject.DecodeCommit(s.ID.Algorithm(), s.Raw)
}

// move makes a commit the last verified one.
func (v *verifier) move(l *link) {
	v.at = place{id: l.ID, tree: l.commit.Tree, when: l.commit.Committer.When}
	v.verdict.Verified = l.ID
}

// follows tells whether step i names the one before it, or the last verified
// commit, as a parent.
func (v *verifier) follows(i int) bool {
	before := v.Held.ID
	if i > 0 {
		before = v.steps[i-1].ID
	}
	return v.steps[i].commit.HasParent(before)
}

// result finishes the verdict.
func (v *verifier) result() Verdict {
	v.verdict.Signers = slices.Sorted(maps.Keys(v.signers))
	return v.verdict
}

// refuse ends the verification before step i, unless somebody accepts it.
func (v *verifier) refuse(ctx context.Context, i int, r *Refusal) error {
	l := &v.steps[i]
	if !r.final {
		accepted, err := v.accepted(ctx, i)
		if accepted {
			v.verdict.Counts.Accepted++
			v.move(l)
			return nil
		}
		if worse := rejected(l.ID, err); worse != nil {
			r, err = worse, nil
		}
		if err != nil {
			return err
		}
	}
	v.verdict.Refusal = r
	return nil
}

// errDone ends a walk that has seen enough.
var errDone = errors.New("done")
