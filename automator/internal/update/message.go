package update

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/imageref"
)

// The trailers of our commits. An App begins a group, which is about one environment; the lines after it belong to it.
const (
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

// message says what a commit does, to people and, by its trailers, to whoever reads the history.
func message(groups []written) string {
	var b strings.Builder
	b.WriteString(title(groups) + "\n\n")
	for _, g := range groups {
		for _, image := range g.Images {
			was := image.Was.Tag
			if was == "" {
				was = "several"
			}
			fmt.Fprintf(&b, "%s %s: %s from %s to %s\n", g.App, g.Environment, image.Name, was, image.Tag)
			if image.Reason != "" {
				fmt.Fprintf(&b, "  %s\n", image.Reason)
			}
		}
	}
	b.WriteByte('\n')
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
