package update

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/edit"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
)

// change is what a pass wants to commit: all edits that are waiting, or as many as one commit takes.
type change struct {
	takes    func(files map[string][]byte) string // why one commit cannot change files
	full     bool                                 // what is left is for the next pass
	files    map[string][]byte
	groups   []written
	detected []detection
	problems []Problem
}

// detection is a candidate that is to be written.
type detection struct {
	app   string
	image pipeline.ReleaseImage
	when  time.Time
}

// edit turns decisions into the bytes of files. What cannot be edited is a problem and keeps nothing else back, but for a
// release that moves on as a whole.
func (v *view) edit(takes func(files map[string][]byte) string) change {
	c := change{takes: takes, files: map[string][]byte{}}
	for _, a := range v.apps {
		for i, e := range a.Environments {
			var decisions []pipeline.Decision
			for _, d := range a.outcome.Decisions {
				if d.Environment == e.Name {
					decisions = append(decisions, d)
				}
			}
			if i == 0 {
				c.detect(a, decisions)
			}
			if len(decisions) > 0 && !c.full {
				c.environment(a, e, decisions)
			}
		}
	}
	return c
}

func (c *change) detect(a *app, decisions []pipeline.Decision) {
	for _, d := range decisions {
		c.detected = append(c.detected, detection{app: a.App, image: a.image(d), when: a.seen[d.Image]})
	}
}

// environment edits the files of one environment.
func (c *change) environment(a *app, e pipeline.Environment, decisions []pipeline.Decision) {
	s := a.surveys[e.Name].over(c.files, imagesOf(a.Pipeline))
	if decisions[0].Proven != "" && len(s.found.Problems) > 0 {
		// What cannot be edited or read may be a part of the release.
		c.problems = append(c.problems, Problem{
			Problem: pipeline.Problem{Message: fmt.Sprintf("the release of %s stays out: %s", decisions[0].Proven, s.found.Problems[0])},
			App:     a.App, Environment: e.Name, Refused: true,
		})
		return
	}
	values := map[string]edit.Value{}
	group := written{App: a.App, Environment: e.Name}
	for _, d := range decisions {
		value := map[string]edit.Value{d.Image: {Tag: d.To.Tag, Digest: d.To.Digest}}
		if problems := s.try(value, a.App, e.Name); len(problems) > 0 {
			c.problems = append(c.problems, problems...)
			if d.Proven != "" {
				return
			}
			continue
		}
		maps.Copy(values, value)
		group.From = d.Proven
		group.Images = append(group.Images, writtenImage{ReleaseImage: a.image(d), Was: d.From, Reason: d.Reason})
	}
	if len(values) == 0 {
		return
	}
	if problems := s.try(values, a.App, e.Name); len(problems) > 0 {
		c.problems = append(c.problems, problems...)
		return
	}
	if !c.add(s.found.Write(values).Files, a.App, e.Name) {
		return
	}
	group.Release = a.releaseAfter(e.Name, group.Images)
	c.groups = append(c.groups, group)
}

// add takes in the files of an environment, if one commit takes them with the others. If not even alone, they keep nobody
// else back.
func (c *change) add(files map[string][]byte, app, environment string) bool {
	if why := c.takes(files); why != "" {
		c.problems = append(c.problems, Problem{Problem: pipeline.Problem{Message: why}, App: app, Environment: environment, Refused: true})
		return false
	}
	before := map[string][]byte{}
	for name := range files {
		if content, has := c.files[name]; has {
			before[name] = content
		}
	}
	maps.Copy(c.files, files)
	if c.full = c.takes(c.files) != ""; c.full {
		maps.DeleteFunc(c.files, func(name string, _ []byte) bool { return files[name] != nil })
		maps.Copy(c.files, before)
	}
	return !c.full
}

// try says what keeps values from being written whole; nothing if they can be.
func (s *survey) try(values map[string]edit.Value, app, environment string) []Problem {
	result := s.found.Write(values)
	problems := editProblems(result.Problems[len(s.found.Problems):], app, environment)
	for _, file := range slices.Sorted(maps.Keys(result.Files)) {
		if why := s.fixed[file]; why != "" {
			problems = append(problems, Problem{Problem: pipeline.Problem{File: file, Message: why}, App: app, Environment: environment, Refused: true})
		}
	}
	for _, idle := range result.Idle {
		problems = append(problems, Problem{
			Problem: pipeline.Problem{Message: fmt.Sprintf("image %s: %s", idle.Image, idle.Reason)},
			App:     app, Environment: environment, Refused: true,
		})
	}
	return problems
}

// image is what a decision writes.
func (a *app) image(d pipeline.Decision) pipeline.ReleaseImage {
	image := pipeline.ReleaseImage{Name: d.Image, Pin: d.To}
	for _, known := range a.Images {
		if known.Name == d.Image {
			image.Repository = known.Repository.Name()
		}
	}
	return image
}

// releaseAfter is the id of what an environment runs once images are written; empty when it cannot be named.
func (a *app) releaseAfter(environment string, images []writtenImage) string {
	observed := a.input.Environments[environment]
	after := maps.Clone(observed.Images)
	for _, image := range images {
		after[image.Name] = pipeline.Running{Pins: []pipeline.Pin{image.Pin}}
	}
	release, ok := a.ReleaseAt(pipeline.Observed{Images: after})
	if !ok {
		return ""
	}
	return release.ID()
}
