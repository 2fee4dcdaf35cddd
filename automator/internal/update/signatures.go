package update

import (
	"fmt"
	"strings"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/shared/signature"
)

// signedBy asks about the images of a repository that have to be signed by somebody. Without rules it asks for nothing.
type signedBy struct {
	signatures Signatures
	repository string
	rules      signature.Rules
}

// asked returns what a policy asks; nil for an image that need not be signed.
func (s signedBy) asked() func(*policy.Tag) policy.Signed {
	switch {
	case len(s.rules) == 0:
		return nil
	case s.signatures == nil:
		return func(*policy.Tag) policy.Signed {
			return policy.Signed{Checked: true, Reason: "nothing checks signatures here"}
		}
	}
	return func(tag *policy.Tag) policy.Signed { return s.signatures.Signed(s.repository, tag, s.rules) }
}

func (s signedBy) generation() uint64 {
	if len(s.rules) == 0 || s.signatures == nil {
		return 0
	}
	return s.signatures.Generation()
}

func (s signedBy) check(tags ...policy.Tag) {
	if len(tags) > 0 && s.signatures != nil {
		s.signatures.Check(s.repository, tags, s.rules)
	}
}

// pin returns a tag with its digest once that is known to be signed; else no pin, and why.
func (s signedBy) pin(tag policy.Tag) (pin pipeline.Pin, reason string) {
	switch signed := s.asked()(&tag); {
	case !signed.Checked:
		s.check(tag)
		return pipeline.Pin{}, fmt.Sprintf("the digest of %s is not written until its signatures are checked", tag.Name)
	case !signed.Kept:
		return pipeline.Pin{}, fmt.Sprintf("the digest of %s is not written: %s", tag.Name, signed.Reason)
	}
	return pipeline.Pin{Tag: tag.Name, Digest: tag.Digest}, ""
}

// vouched adds to the reason for a selection who has signed it. A selection may be older than a key that is gone by now, and
// is none then.
func (s signedBy) vouched(pin pipeline.Pin, reason string) (pipeline.Pin, string) {
	ask := s.asked()
	if ask == nil {
		return pin, reason
	}
	signed := ask(&policy.Tag{Name: pin.Tag, Digest: pin.Digest})
	if !signed.Kept {
		return pipeline.Pin{}, fmt.Sprintf("%s is to be checked again", pin.Tag)
	}
	return pin, reason + "; signed: " + strings.Join(signed.By, ", ")
}

// refusals are the digests that an app's environments have and that may not go on to the next one: whoever wrote them, no
// commit of ours writes what is not signed.
func (u *Updater) refusals(a *app) []pipeline.Refusal {
	var refusals []pipeline.Refusal
	for _, image := range a.Images {
		signed := signedBy{u.deps.Signatures, image.Repository.Name(), image.Verify}
		ask := signed.asked()
		if ask == nil {
			continue
		}
		for _, e := range a.Environments[:len(a.Environments)-1] {
			for _, pin := range a.input.Environments[e.Name].Images[image.Name].Pins {
				if pin.Digest == "" {
					continue
				}
				tag := policy.Tag{Name: pin.Tag, Digest: pin.Digest}
				switch known := ask(&tag); {
				case !known.Checked:
					signed.check(tag)
					refusals = append(refusals, pipeline.Refusal{Image: image.Name, Digest: pin.Digest, Reason: "its signatures are not checked yet"})
				case !known.Kept:
					refusals = append(refusals, pipeline.Refusal{Image: image.Name, Digest: pin.Digest, Reason: known.Reason})
				}
			}
		}
	}
	return refusals
}
