package update

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/message"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/imageref"
)

// The trailers of our commits. An App begins a group, which is about one environment; the lines after it belong to it.
const (
	trailerPrefix      = "Tandem-"
	trailerApp         = "Tandem-App"
	trailerEnvironment = "Tandem-Environment"
	trailerRelease     = "Tandem-Release"
	trailerFrom        = "Tandem-From"
	trailerImage       = "Tandem-Image"
)

// written is what a commit writes to one environment.
type written struct {
	App, Environment string
	// Release is the id of what the environment runs then; empty when it cannot be named.
	Release string
	// From is the environment that proved it; empty for the first one.
	From   string
	Images []writtenImage
}

type writtenImage struct {
	pipeline.ReleaseImage

	Was    pipeline.Pin
	Reason string
}

// message says what a commit does, to people and, by its trailers, to whoever reads the history. What is read of it is the same
// whatever the words are.
func (u *Updater) message(groups []written) string {
	usual := message.Words{Title: title(groups), Body: body(groups)}
	plain := compose(usual, groups)
	words, err := u.cfg.Words.Words(u.describe(usual, groups))
	text := compose(words, groups)
	if err == nil && !slices.Equal(ours(text), ours(plain)) {
		err = errors.New("our trailers are not what is read in what came out")
	}
	if err != nil {
		u.log.Warn("a commit is worded as always: its templates do not fit it", zap.Error(err))
		return plain
	}
	return text
}

// ours are the trailers of Tandem that are read in a message.
func ours(text string) []gitobject.Trailer {
	return slices.DeleteFunc(gitobject.ParseTrailers(text), func(t gitobject.Trailer) bool { return !message.Reserved(t.Key) })
}

// describe is what templates are given.
func (u *Updater) describe(usual message.Words, groups []written) message.Commit {
	c := message.Commit{Title: usual.Title, Body: usual.Body, Author: fmt.Sprintf("%s <%s>", u.cfg.Name, u.cfg.Email)}
	apps, environments := map[string]bool{}, map[string]bool{}
	for _, g := range groups {
		apps[g.App], environments[g.Environment] = true, true
		for _, image := range g.Images {
			c.Images = append(c.Images, message.Image{
				App: g.App, Environment: g.Environment, Release: g.Release, From: g.From,
				Name: image.Name, Repository: image.Repository, Tag: image.Tag, Digest: image.Digest,
				Was: image.Was.Tag, Reason: image.Reason,
			})
		}
	}
	c.Apps, c.Environments = slices.Sorted(maps.Keys(apps)), slices.Sorted(maps.Keys(environments))
	return c
}

// compose puts our trailers behind the words and theirs.
func compose(words message.Words, groups []written) string {
	var b strings.Builder
	b.WriteString(words.Title + "\n\n")
	if words.Body != "" {
		b.WriteString(words.Body + "\n\n")
	}
	for _, line := range words.Trailers {
		b.WriteString(line + "\n")
	}
	for _, g := range groups {
		fmt.Fprintf(&b, "%s: %s\n%s: %s\n", trailerApp, g.App, trailerEnvironment, g.Environment)
		if g.Release != "" {
			fmt.Fprintf(&b, "%s: %s\n", trailerRelease, g.Release)
		}
		if g.From != "" {
			fmt.Fprintf(&b, "%s: %s\n", trailerFrom, g.From)
		}
		for _, image := range g.Images {
			fmt.Fprintf(&b, "%s: %s=%s:%s@%s\n", trailerImage, image.Name, image.Repository, image.Tag, image.Digest)
		}
	}
	return b.String()
}

func body(groups []written) string {
	var lines []string
	for _, g := range groups {
		for _, image := range g.Images {
			was := image.Was.Tag
			if was == "" {
				was = "several"
			}
			lines = append(lines, fmt.Sprintf("%s %s: %s from %s to %s", g.App, g.Environment, image.Name, was, image.Tag))
			if image.Reason != "" {
				lines = append(lines, "  "+image.Reason)
			}
		}
	}
	return strings.Join(lines, "\n")
}

func title(groups []written) string {
	if len(groups) == 1 && len(groups[0].Images) == 1 {
		g := groups[0]
		return fmt.Sprintf("%s: %s %s to %s", g.App, g.Images[0].Name, g.Images[0].Tag, g.Environment)
	}
	images, apps, environments := 0, map[string]bool{}, map[string]bool{}
	for _, g := range groups {
		images += len(g.Images)
		apps[g.App], environments[g.Environment] = true, true
	}
	return fmt.Sprintf("%s: %d images to %s", few(apps, "apps"), images, few(environments, "environments"))
}

// few names up to three things, or counts them.
func few(names map[string]bool, what string) string {
	const most = 3
	if len(names) > most {
		return fmt.Sprintf("%d %s", len(names), what)
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

// readMessage returns what a commit says it wrote. Trailers that make no sense are passed over: anybody can write them.
func readMessage(trailers []gitobject.Trailer) []written {
	var groups []written
	for _, t := range trailers {
		if strings.EqualFold(t.Key, trailerApp) {
			groups = append(groups, written{App: t.Value})
			continue
		}
		if len(groups) == 0 {
			continue
		}
		g := &groups[len(groups)-1]
		switch {
		case strings.EqualFold(t.Key, trailerEnvironment):
			g.Environment = t.Value
		case strings.EqualFold(t.Key, trailerRelease):
			g.Release = t.Value
		case strings.EqualFold(t.Key, trailerFrom):
			g.From = t.Value
		case strings.EqualFold(t.Key, trailerImage):
			if image, ok := readImage(t.Value); ok {
				g.Images = append(g.Images, writtenImage{ReleaseImage: image})
			}
		}
	}
	return groups
}

// readImage reads "name=repository:tag@digest".
func readImage(text string) (pipeline.ReleaseImage, bool) {
	name, reference, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return pipeline.ReleaseImage{}, false
	}
	ref, err := imageref.Parse(reference)
	if err != nil || ref.Tag == "" && ref.Digest == "" {
		return pipeline.ReleaseImage{}, false
	}
	pin := pipeline.Pin{Tag: ref.Tag, Digest: ref.Digest}
	return pipeline.ReleaseImage{Name: name, Repository: ref.Name(), Pin: pin}, true
}
