package update

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/shared/backoff"
)

const (
	// digestTimeout bounds the question for one digest. The others, and all that waits for this pass, wait for it.
	digestTimeout = 5 * time.Second
	// maxQuestions is how many digests are asked for at a time.
	maxQuestions = 8
)

// afterNoDigest is how long a digest that could not be had is not asked for again.
func afterNoDigest() backoff.Backoff {
	return backoff.Backoff{Min: 10 * time.Second, Max: 5 * time.Minute}
}

// digests are the questions that failed, by repository and tag.
type digests map[question]*unanswered

type question struct{ repository, tag string }

type unanswered struct {
	why     string
	attempt int
	next    time.Time
}

// choice is what the policy of an image selected, and the question for its digest that is left.
type choice struct {
	app       *app
	image     pipeline.Image
	candidate pipeline.Candidate
	open      question // empty if there is none
}

// candidates finds for every image what the first environment could run.
func (u *Updater) candidates(ctx context.Context, v *view) {
	var choices []choice
	questions := map[question]bool{}
	u.selections.begin()
	now := time.Now()
	u.ripe = time.Time{}
	for _, a := range v.apps {
		if !u.cfg.writes(a.Environments[0]) {
			continue
		}
		for _, image := range a.Images {
			c, ok := u.choose(v, a, image, now)
			if !ok {
				continue // Decide says so
			}
			choices = append(choices, c)
			if c.open != (question{}) {
				questions[c.open] = true
			}
		}
	}
	answers := u.ask(ctx, slices.Collect(maps.Keys(questions)))
	for _, c := range choices {
		if c.open != (question{}) {
			c.candidate.Pin.Digest = answers[c.open]
			if failed := u.digests[c.open]; failed != nil && c.candidate.Pin.Digest == "" {
				c.candidate.Unresolved = failed.why
				v.problems = append(v.problems, imageProblem(c.app, c.image, failed.why))
			}
		}
		c.app.input.Candidates[c.image.Name] = c.candidate
	}
}

// choose asks the policy of one image.
func (u *Updater) choose(v *view, a *app, image pipeline.Image, now time.Time) (c choice, ok bool) {
	repository := image.Repository.Name()
	seen := u.deps.Images.Tags(repository)
	if seen.Problem != "" {
		v.problems = append(v.problems, imageProblem(a, image, seen.Problem))
	}
	if !seen.Looked {
		return choice{}, false
	}
	running := a.input.Environments[a.Environments[0].Name].Images[image.Name]
	current := newest(image.Policy, running.Pins)
	in := policy.Input{Tags: seen.Tags, Current: seen.find(current.Tag), Now: now}
	in.Current.Digest = current.Digest
	signed := signedBy{u.deps.Signatures, repository, image.Verify}
	in.Signed = signed.asked()
	selection := u.selections.choose(chooser{a.Pipeline, image.Name}, image.Policy, in, signed.generation())
	if len(selection.Inspect) > 0 {
		u.deps.Images.Inspect(repository, selection.Inspect)
	}
	signed.check(selection.Check...)
	if again := selection.Again; !again.IsZero() && (u.ripe.IsZero() || again.Before(u.ripe)) {
		u.ripe = again
	}
	pin := pipeline.Pin{Tag: selection.Tag, Digest: selection.Digest}
	moves := selection.Changed && pin.Tag == current.Tag
	switch {
	case image.Policy.Held() != "":
		pin = pipeline.Pin{} // not even the digest of the tag that is there
	case !selection.Changed && current.Digest != "":
		pin = current
	}
	reason := selection.Reason
	if selection.Changed {
		pin, reason = signed.vouched(pin, reason)
	}
	if len(image.Verify) > 0 && pin.Tag != "" && pin.Digest == "" { // the tag that is there, without a digest yet
		pin, reason = signed.pin(seen.find(pin.Tag))
	}
	a.seen[image.Name] = seen.find(pin.Tag).Pushed
	c = choice{app: a, image: image, candidate: pipeline.Candidate{Pin: pin, Reason: reason, Moves: moves}}
	if pin.Tag != "" && pin.Digest == "" && len(running.Pins) > 0 {
		c.open = question{repository, pin.Tag}
	}
	return c, true
}

// newest is the pin that nothing may go below: the only one, or the highest of several.
func newest(p policy.Policy, pins []pipeline.Pin) pipeline.Pin {
	var high pipeline.Pin
	for i, pin := range pins {
		if order, ok := p.Compare(pin.Tag, high.Tag); i == 0 || ok && order > 0 {
			high = pin
		}
	}
	if len(pins) > 1 {
		high.Digest = "" // several values have to become one, whichever it is
	}
	return high
}

func imageProblem(a *app, image pipeline.Image, message string) Problem {
	return Problem{
		Problem: pipeline.Problem{File: a.File, Line: image.Line, Message: fmt.Sprintf("image %s: %s", image.Name, message)},
		App:     a.App,
	}
}

// ask has digests, all at once. What fails is not asked again for a while: a registry that does not answer must not make
// every pass wait for it.
func (u *Updater) ask(ctx context.Context, questions []question) map[question]string {
	if u.digests == nil {
		u.digests = digests{}
	}
	maps.DeleteFunc(u.digests, func(q question, _ *unanswered) bool { return !slices.Contains(questions, q) })
	now := time.Now()
	questions = slices.DeleteFunc(questions, func(q question) bool {
		failed := u.digests[q]
		return failed != nil && now.Before(failed.next)
	})
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, maxQuestions)
	answers := map[question]string{}
	for _, q := range questions {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			bounded, cancel := context.WithTimeout(ctx, digestTimeout)
			defer cancel()
			digest, err := u.deps.Images.Digest(bounded, q.repository, q.tag)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				answers[q] = digest
				delete(u.digests, q)
				return
			}
			u.failed(q, err.Error())
		})
	}
	wg.Wait()
	return answers
}

func (u *Updater) failed(q question, why string) {
	failed := u.digests[q]
	if failed == nil {
		failed = &unanswered{}
		u.digests[q] = failed
	}
	failed.why = why
	failed.next = time.Now().Add(afterNoDigest().Delay(failed.attempt))
	failed.attempt++
}

// nextQuestion is when a digest is to be asked for again; zero when none is.
func (u *Updater) nextQuestion() time.Time {
	var next time.Time
	for _, failed := range u.digests {
		if next.IsZero() || failed.next.Before(next) {
			next = failed.next
		}
	}
	return next
}
