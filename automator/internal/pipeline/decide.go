package pipeline

import (
	"fmt"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/policy"
)

// Input is everything a decision depends on.
type Input struct {
	// Candidates are what the first environment could run, by image name.
	Candidates map[string]Candidate
	// Environments are what the others know of each environment, by its name.
	Environments map[string]Observed
	// Refusals are the digests that environments have and that may not be written to another one.
	Refusals []Refusal
	// Now is the clock. It decides nothing; it measures how long an environment
	// has been healthy.
	Now time.Time
}

// Candidate is what an image could become.
type Candidate struct {
	// Pin is the tag that the policy selects with its digest, which is the current
	// one if nothing is newer; empty if there is none.
	Pin Pin
	// Reason says why this one, or why none.
	Reason string
	// Unresolved says why Pin has a tag and no digest, where asking for it failed.
	Unresolved string
	// Moves is whether the policy wants this digest of the tag in place of another one of the same tag.
	Moves bool
}

// Observed is the state of an environment.
type Observed struct {
	// Images are what Git has at the environment's path, by image name.
	Images map[string]Running
	// Ours are values that we wrote and that a person replaced, by image name:
	// what we wrote. They are held until something newer comes.
	Ours map[string]Pin
	// Evidence is what the environment's cluster reports.
	Evidence Evidence
}

// Running is an image at an environment's path.
type Running struct {
	// Pins are the different values that it has there: one, if all agree.
	Pins []Pin
	// Missing says where it was looked for if there are none.
	Missing string
}

// Evidence is what a cluster says about an environment.
type Evidence struct {
	// Healthy holds the digests with which the environment is healthy, by image
	// name; nil if it is not, or if nothing is known.
	Healthy map[string]string
	// Since is when the cluster first saw these digests healthy without a break.
	Since time.Time
	// State is what the cluster says if the environment is not healthy.
	State string
}

// Decision is a value to write.
type Decision struct {
	Environment string
	Image       string
	// From is what is there; empty if different values are.
	From   Pin
	To     Pin
	Reason string
	// Proven is the environment whose health allows it, and HealthyFor how long
	// that lasts; empty at the first environment.
	Proven     string
	HealthyFor time.Duration
}

// Wait is something that does not happen, and why.
type Wait struct {
	Environment string
	// Image is empty where the whole environment waits.
	Image  string
	Reason string
}

// Outcome is what Decide says: for every environment, and every image of it, a
// decision or the reason for none.
type Outcome struct {
	Decisions []Decision
	Waits     []Wait
}

// Decide says what to write now. It depends on its arguments only, and its result
// is in the order of the pipeline file.
func Decide(p *Pipeline, in Input) Outcome {
	var out Outcome
	for i, e := range p.Environments {
		if i == 0 {
			out.first(p, e, in)
			continue
		}
		out.next(p, p.Environments[i-1], e, in)
	}
	return out
}

func (o *Outcome) waitf(environment, image, format string, args ...any) {
	o.Waits = append(o.Waits, Wait{Environment: environment, Image: image, Reason: fmt.Sprintf(format, args...)})
}

// first gives every image of the first environment its candidate, each by itself.
func (o *Outcome) first(p *Pipeline, e Environment, in Input) {
	observed := in.Environments[e.Name]
	for _, image := range p.Images {
		running, candidate := observed.Images[image.Name], in.Candidates[image.Name]
		if reason := notFirst(image, running, candidate, observed.Ours[image.Name]); reason != "" {
			o.waitf(e.Name, image.Name, "%s", reason)
			continue
		}
		d := Decision{Environment: e.Name, Image: image.Name, To: candidate.Pin, Reason: why(candidate)}
		switch {
		case len(running.Pins) > 1:
			d.Reason = fmt.Sprintf("%d different values become one: %s", len(running.Pins), why(candidate))
		case running.Pins[0].Tag == candidate.Pin.Tag && !candidate.Moves:
			d.From, d.Reason = running.Pins[0], fmt.Sprintf("%s gets the digest it has now", candidate.Pin.Tag)
		default:
			d.From = running.Pins[0]
		}
		o.Decisions = append(o.Decisions, d)
	}
}

// notFirst says why an image of the first environment stays as it is.
func notFirst(image Image, running Running, candidate Candidate, ours Pin) string {
	switch {
	case len(running.Pins) == 0:
		return missing(running)
	case candidate.Pin.Tag == "":
		return orElse(candidate.Reason, fmt.Sprintf("no tag of %s was looked at yet", image.Repository))
	case candidate.Pin.Digest == "":
		return orElse(candidate.Unresolved, fmt.Sprintf("the digest of %s is not known yet", candidate.Pin.Tag))
	case len(running.Pins) == 1 && running.Pins[0] == candidate.Pin:
		return why(candidate)
	case held(image.Policy, candidate.Pin, ours):
		return heldReason(running, ours)
	}
	for _, pin := range running.Pins {
		switch order, ok := image.Policy.Compare(candidate.Pin.Tag, pin.Tag); {
		case ok && order < 0:
			return fmt.Sprintf("%s is older than %s, which is there; nothing goes back by itself", candidate.Pin.Tag, pin.Tag)
		case len(running.Pins) == 1 && pin.Tag == candidate.Pin.Tag && pin.Digest != "" && !candidate.Moves:
			return fmt.Sprintf("the tag %s moved from %s to %s; a version is taken once", pin.Tag, pin, candidate.Pin)
		}
	}
	return ""
}

// held tells whether a person's change keeps a candidate out: it does unless the
// candidate is newer than what the person replaced.
func held(p policy.Policy, candidate, ours Pin) bool {
	switch order, ok := p.Compare(candidate.Tag, ours.Tag); {
	case ours == Pin{}:
		return false
	case p.Follows() != "":
		return candidate.Digest == ours.Digest
	case ok:
		return order <= 0
	}
	return candidate.Tag == ours.Tag || candidate.Digest == ours.Digest
}

func heldReason(running Running, ours Pin) string {
	now := "something else"
	if len(running.Pins) == 1 {
		now = running.Pins[0].String()
	}
	return fmt.Sprintf("held: somebody changed our %s to %s; a newer one than %s ends this", ours, now, ours.Tag)
}

func why(candidate Candidate) string {
	return orElse(candidate.Reason, candidate.Pin.Tag+" is what the policy selects")
}

func missing(running Running) string {
	return orElse(running.Missing, "the image is not at the environment's path")
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
