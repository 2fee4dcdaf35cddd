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

// candidates finds for every image what the first environment could run.
func (u *Updater) candidates(ctx context.Context, v *view) {
	questions := map[question][]string{}
	var wanted []func(answers map[question]string)
	for _, a := range v.apps {
		first := a.input.Environments[a.Environments[0].Name]
		for _, image := range a.Images {
			repository := image.Repository.Name()
			seen := u.deps.Images.Tags(repository)
			if seen.Problem != "" {
				v.problems = append(v.problems, imageProblem(a, image, seen.Problem))
			}
			if !seen.Looked {
				continue // Decide says so
			}
			running := first.Images[image.Name]
			current := newest(running.Pins)
			selection, _ := policy.Select(image.Policy, slices.Collect(maps.Keys(seen.Tags)), current.Tag)
			candidate := pipeline.Candidate{Pin: pipeline.Pin{Tag: selection.Tag}, Reason: selection.Reason}
			a.seen[image.Name] = seen.Tags[selection.Tag]
			if !selection.Changed && current.Digest != "" {
				candidate.Pin = current
			}
			a.input.Candidates[image.Name] = candidate
			if candidate.Pin.Tag == "" || candidate.Pin.Digest != "" || len(running.Pins) == 0 {
				continue
			}
			q := question{repository, selection.Tag}
			questions[q] = nil
			wanted = append(wanted, func(answers map[question]string) {
				candidate.Pin.Digest = answers[q]
				if failed := u.digests[q]; failed != nil && candidate.Pin.Digest == "" {
					v.problems = append(v.problems, imageProblem(a, image, failed.why))
				}
				a.input.Candidates[image.Name] = candidate
			})
		}
	}
	answers := u.ask(ctx, slices.Collect(maps.Keys(questions)))
	for _, f := range wanted {
		f(answers)
	}
}

// newest is the pin that nothing may go below: the only one, or the highest of several.
func newest(pins []pipeline.Pin) pipeline.Pin {
	var high pipeline.Pin
	for i, pin := range pins {
		if order, ok := policy.Compare(pin.Tag, high.Tag); i == 0 || ok && order > 0 {
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
			u.failed(q, fmt.Sprintf("digest of %s:%s: %v", q.repository, q.tag, err))
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
