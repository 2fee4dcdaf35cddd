package trust

import (
	"context"
	"slices"
	"strings"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// accepted tells whether somebody takes responsibility for step i: an operator,
// or a human who may change what it changes and says so in a later commit or in
// the tag.
func (v *verifier) accepted(ctx context.Context, i int) (bool, error) {
	refused := &v.steps[i]
	if slices.Contains(v.Accept, refused.ID) {
		return true, nil
	}
	for j := i + 1; j < len(v.steps); j++ {
		later := &v.steps[j]
		if !later.open() || !v.follows(j) {
			break // what stands after a break is not part of this chain
		}
		if !names(later.commit.Trailers(), refused.ID) {
			continue
		}
		if done, err := v.consents(ctx, refused, v.signerOf(later)); done || err != nil {
			return done, err
		}
	}
	tag, err := v.openTag()
	if err != nil || tag == nil || !names(tag.Trailers(), refused.ID) {
		return false, nil //nolint:nilerr // a tag that is not in order consents to nothing
	}
	return v.consents(ctx, refused, v.Policy.signer(claimOfTag(v.Tag, tag), v.Signatures))
}

// names tells whether trailers accept a commit. An abbreviated id names nothing.
func names(trailers []gitobject.Trailer, id gitobject.ID) bool {
	return slices.ContainsFunc(trailers, func(t gitobject.Trailer) bool {
		return strings.EqualFold(t.Key, Trailer) && t.Value == id.String()
	})
}

// consents tells whether a signer's word is enough for a refused commit.
func (v *verifier) consents(ctx context.Context, refused *link, by signer) (bool, error) {
	if by.who == nil || by.who.class != human {
		return false, nil
	}
	path, err := v.beyond(ctx, refused.commit.Tree, by.who)
	if err != nil || path != "" {
		return false, err
	}
	v.signers[by.who.name] = true
	return true, nil
}
