package pipeline

import (
	"fmt"

	"github.com/tandem-cd/tandem/automator/internal/policy"
)

// next brings the release of the environment before into an environment. A
// release moves as a whole, so one reason keeps all of it.
func (o *Outcome) next(p *Pipeline, before, e Environment, in Input) {
	proven, observed := in.Environments[before.Name], in.Environments[e.Name]
	if reason := unnameable(p, before, proven); reason != "" {
		o.waitf(e.Name, "", "%s", reason)
		return
	}
	var moves []Decision
	for _, image := range p.Images {
		from, to := observed.Images[image.Name], proven.Images[image.Name]
		switch {
		case len(from.Pins) == 0:
			o.waitf(e.Name, image.Name, "%s", missing(from))
		case len(to.Pins) == 0:
			o.waitf(e.Name, image.Name, "%s does not have it, so nothing proves a version", before.Name)
		case len(from.Pins) > 1:
			moves = append(moves, Decision{Environment: e.Name, Image: image.Name, To: to.Pins[0]})
		case from.Pins[0] != to.Pins[0]:
			moves = append(moves, Decision{Environment: e.Name, Image: image.Name, From: from.Pins[0], To: to.Pins[0]})
		}
	}
	release, ok := p.ReleaseAt(proven)
	if !ok {
		return // it has no image, and each has its reason
	}
	if reason := p.notNext(before, release, moves, observed, &in); reason != "" {
		o.waitf(e.Name, "", "%s", reason)
		return
	}
	for _, d := range moves {
		d.Proven = before.Name
		d.Reason = fmt.Sprintf("release %s is healthy at %s", release.ID(), before.Name)
		if since := proven.Evidence.Since; !since.IsZero() {
			d.HealthyFor = max(0, in.Now.Sub(since)) // the cluster's clock may be ahead of ours
		}
		o.Decisions = append(o.Decisions, d)
	}
}

// unnameable says why what an environment runs is no release.
func unnameable(p *Pipeline, e Environment, observed Observed) string {
	for _, image := range p.Images {
		switch pins := observed.Images[image.Name].Pins; {
		case len(pins) > 1:
			return fmt.Sprintf("%s has %d different values of %s", e.Name, len(pins), image.Name)
		case len(pins) == 1 && pins[0].Digest == "":
			return fmt.Sprintf("%s has %s %s without a digest; what runs there cannot be named", e.Name, image.Name, pins[0])
		}
	}
	return ""
}

// notNext says why a release stays out of the next environment.
func (p *Pipeline) notNext(before Environment, release Release, moves []Decision, observed Observed, in *Input) string {
	if len(moves) == 0 {
		return fmt.Sprintf("has release %s of %s already", release.ID(), before.Name)
	}
	for _, d := range moves {
		running, rule := observed.Images[d.Image], p.policyOf(d.Image)
		if reason := rule.Held(); reason != "" {
			return fmt.Sprintf("%s is held in %s: %s", d.Image, p.File, reason)
		}
		if reason := in.refused(d.Image, d.To.Digest); reason != "" {
			return fmt.Sprintf("%s %s of %s may not be written: %s", d.Image, d.To, before.Name, reason)
		}
		if ours := observed.Ours[d.Image]; held(rule, d.To, ours) {
			return d.Image + " is " + heldReason(running, ours)
		}
		for _, pin := range running.Pins {
			if order, ok := rule.Compare(d.To.Tag, pin.Tag); ok && order < 0 {
				return fmt.Sprintf("release %s of %s has %s %s, older than %s here; nothing goes back by itself",
					release.ID(), before.Name, d.Image, d.To.Tag, pin.Tag)
			}
		}
	}
	return unproven(before, release, in.Environments[before.Name].Evidence)
}

// policyOf returns the policy of an image.
func (p *Pipeline) policyOf(image string) policy.Policy {
	for i := range p.Images {
		if p.Images[i].Name == image {
			return p.Images[i].Policy
		}
	}
	return policy.Policy{}
}

// unproven says why an environment is no proof for what it runs; empty if it is.
func unproven(e Environment, release Release, evidence Evidence) string {
	switch {
	case e.Cluster == "":
		return fmt.Sprintf("no cluster says whether %s is healthy; name it in the pipeline file", e.Name)
	case evidence.Healthy == nil && evidence.State != "":
		return fmt.Sprintf("%s is not healthy with release %s: %s", e.Name, release.ID(), evidence.State)
	case evidence.Healthy == nil:
		return fmt.Sprintf("%s has not said yet that %s is healthy with release %s", e.Cluster, e.Name, release.ID())
	}
	for _, image := range release {
		switch digest := evidence.Healthy[image.Name]; digest {
		case image.Digest:
		case "":
			return fmt.Sprintf("%s has not seen %s %s healthy at %s", e.Cluster, image.Name, image.Pin, e.Name)
		default:
			return fmt.Sprintf("%s saw %s healthy with %s at %s, which has %s in Git by now",
				e.Cluster, image.Name, Pin{Digest: digest}, e.Name, image.Pin)
		}
	}
	return ""
}
