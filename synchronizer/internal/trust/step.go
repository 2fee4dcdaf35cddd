package trust

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// step passes the last verified commit on to step i, or refuses it.
func (v *verifier) step(ctx context.Context, i int) error {
	l := &v.steps[i]
	refusal, err := v.judge(ctx, i)
	if refusal == nil && err != nil {
		refusal = rejected(l.ID, err)
	}
	switch {
	case refusal != nil:
		return v.refuse(ctx, i, refusal)
	case err != nil:
		return err
	}
	v.move(l)
	return nil
}

// judge applies the rules to step i.
func (v *verifier) judge(ctx context.Context, i int) (*Refusal, error) {
	l := &v.steps[i]
	if !l.open() {
		return broken(l), nil
	}
	if i == 0 && v.at.id.IsZero() {
		return v.firstContact(ctx, l)
	}
	if !v.follows(i) {
		return &Refusal{
			Commit: l.ID, Next: askForConsent(l.ID),
			Reason: fmt.Sprintf("does not descend from %s, which was verified last: history was rewritten or went back", v.at.id),
		}, nil
	}
	touched, err := v.touches(ctx, l.commit)
	if err != nil {
		return nil, err
	}
	if !touched {
		v.verdict.Counts.Untouched++
		return nil, nil
	}
	who := v.signerOf(l)
	if who.who == nil {
		return v.unsigned(ctx, l, who)
	}
	if who.who.class == human {
		return v.byHuman(ctx, l, who.who)
	}
	return v.byAutomation(ctx, l, who.who)
}

// broken refuses a commit whose content is not what its id says or not a
// commit at all.
func broken(l *link) *Refusal {
	return &Refusal{
		Commit: l.ID, Reason: fmt.Sprintf("is not a commit that can be read: %v", l.failed), final: true,
		Next: "fetch it anew; if it was committed like this, commit the content anew on top of its parent",
	}
}

// firstContact judges the commit that everything else will rest on.
func (v *verifier) firstContact(ctx context.Context, l *link) (*Refusal, error) {
	r := &Refusal{Commit: l.ID}
	if !v.Since.IsZero() {
		if l.ID == v.Since {
			v.verdict.Counts.Trusted++
			return nil, nil
		}
		r.Reason = fmt.Sprintf("is not %s, which trust.since of the Sync names", v.Since)
		r.Next = "correct trust.since, or " + askForConsent(l.ID)
		return r, nil
	}
	who := v.signerOf(l)
	switch {
	case who.who == nil:
		r.Reason = who.problem + ", and nothing was verified before it"
	case who.who.class != human:
		r.Reason = fmt.Sprintf("is signed by %s, which is an automation, and nothing was verified before it", who.name())
	default:
		path, err := v.beyond(ctx, l.commit.Tree, who.who)
		if err != nil {
			return nil, err
		}
		if path == "" {
			v.pass(who.who)
			return nil, nil
		}
		r.File = path
		r.Reason = fmt.Sprintf("is outside of what %s may change, and nothing was verified before it", who.name())
	}
	r.Signer = who.name()
	r.Next = fmt.Sprintf("set trust.since of the Sync to %s if you trust that commit, or sign the head of the branch", l.ID)
	return r, nil
}

// pass counts a step that its signer vouches for.
func (v *verifier) pass(who *principal) {
	v.signers[who.name] = true
	if who.class == human {
		v.verdict.Counts.Human++
	} else {
		v.verdict.Counts.Automation++
	}
}

func (v *verifier) signerOf(l *link) signer {
	return v.Policy.signer(claimOfCommit(l.Step, l.commit), v.Signatures)
}

// touches compares what stands at each path, by id.
func (v *verifier) touches(ctx context.Context, c *gitobject.Commit) (bool, error) {
	if c.Tree == v.at.tree {
		return false, nil
	}
	for _, path := range v.Paths {
		before, _, err := gitobject.Lookup(ctx, v.read, v.at.tree, path)
		if err != nil {
			return false, err
		}
		after, _, err := gitobject.Lookup(ctx, v.read, c.Tree, path)
		if err != nil || before != after {
			return true, err
		}
	}
	return false, nil
}

// changes calls visit for every file that a tree changes under the paths.
func (v *verifier) changes(ctx context.Context, tree gitobject.ID, visit func(gitobject.Change) error) error {
	err := gitobject.Diff(ctx, v.read, v.at.tree, tree, v.Paths, visit)
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// beyond is the first path that a tree changes and who may not change; empty
// when there is none.
func (v *verifier) beyond(ctx context.Context, tree gitobject.ID, who *principal) (string, error) {
	if who.mayChangeAll(v.Paths) {
		return "", nil
	}
	var path string
	err := v.changes(ctx, tree, func(c gitobject.Change) error {
		if who.mayChange(c.Path) {
			return nil
		}
		path = c.Path
		return errDone
	})
	return path, err
}
