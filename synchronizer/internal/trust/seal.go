package trust

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// Seal decides by the tag alone. [Verify] asks the same first and walks the
// chain when the tag does not seal it; Seal says why it does not.
func Seal(ctx context.Context, req Request) (Verdict, error) {
	if req.Policy.mode == Relay {
		return Verdict{Verified: req.last().ID, Unverified: true}, nil
	}
	v, err := newVerifier(req)
	if err != nil {
		return Verdict{}, err
	}
	sealed, reason, err := v.seal(ctx)
	if err == nil && !sealed {
		if reason == "" {
			reason = "has no annotated tag"
		}
		v.verdict.Refusal = &Refusal{
			Commit: req.last().ID, Reason: reason, Next: "have a human who is trusted here sign an annotated tag on it",
		}
	}
	return v.result(), err
}

// seal moves to the last step if a human signed a tag on it who may change
// what it changes. Otherwise it says why not.
func (v *verifier) seal(ctx context.Context) (sealed bool, reason string, err error) {
	if v.Tag.ID.IsZero() || len(v.steps) == 0 {
		return false, "", nil
	}
	target := &v.steps[len(v.steps)-1]
	tag, err := v.openTag()
	if err != nil {
		return false, fmt.Sprintf("has a tag that is refused: %v", err), nil
	}
	if !target.open() {
		return false, broken(target).Reason, nil
	}
	by := v.Policy.signer(claimOfTag(v.Tag, tag), v.Signatures)
	switch {
	case by.who == nil:
		return false, "has a tag that " + by.problem, nil
	case by.who.class != human:
		return false, fmt.Sprintf("has a tag that is signed by %s, which is an automation", by.name()), nil
	case tag.Tagger.When.Before(v.at.when) && !v.linked():
		return false, fmt.Sprintf("has a tag that is older than %s, which was verified last", v.at.id), nil
	}
	path, err := v.beyond(ctx, target.commit.Tree, by.who)
	if refusal := rejected(target.ID, err); refusal != nil {
		return false, refusal.Reason, nil
	}
	if err != nil {
		return false, "", err
	}
	if path != "" {
		return false, outside(target.ID, path, by.who).Reason, nil
	}
	v.signers[by.who.name] = true
	v.verdict.Counts.Sealed++
	v.move(target)
	return true, "", nil
}

// openTag checks and decodes the tag. It is nil without an error when there is
// none.
func (v *verifier) openTag() (*gitobject.Tag, error) {
	if v.Tag.ID.IsZero() || len(v.steps) == 0 {
		return nil, nil
	}
	if err := gitobject.Check(v.Tag.ID, gitobject.TypeTag, v.Tag.Raw); err != nil {
		return nil, err
	}
	tag, err := gitobject.DecodeTag(v.Tag.ID.Algorithm(), v.Tag.Raw)
	switch {
	case err != nil:
		return nil, err
	case tag.Object != v.steps[len(v.steps)-1].ID || tag.Type != gitobject.TypeCommit:
		return nil, errors.New("it names another object")
	case v.Ref != "refs/tags/"+tag.Name:
		return nil, fmt.Errorf("it says that it is the tag %q, and it stands at %s", tag.Name, v.Ref)
	}
	return tag, nil
}

// linked tells whether the chain leads from the last verified commit to the
// last step. If it does, an old tag cannot take anything back.
func (v *verifier) linked() bool {
	for i := range v.steps {
		if !v.steps[i].open() || !v.follows(i) {
			return false
		}
	}
	return true
}
