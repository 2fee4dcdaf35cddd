package update

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

const (
	// maxHistory is how many commits that touch environments are searched for values of ours.
	maxHistory = 1000
	// retold is how old a commit of ours may be for a process that begins to tell of it: the process before may have been
	// killed between its push and the event.
	retold = time.Hour
)

// slot is where an image is written.
type slot struct{ App, Environment, Image string }

// history is what our commits say they wrote last, as of a tip. It can be had again from Git at any time.
type history struct {
	tip   gitobject.ID
	paths []string
	ours  map[slot]pipeline.Pin
}

// ownCommit is a commit with our trailers. They outlive squashes and rebases, so that it need not be one that we made.
type ownCommit struct {
	id     gitobject.ID
	by     gitobject.Person
	writer string // who asked the host for it
	groups []written
}

// follow brings what is known of history to a tip and returns the commits that we made and may not have told of, oldest
// first.
func (u *Updater) follow(ctx context.Context, tip gitobject.ID, paths []string) ([]ownCommit, error) {
	h := &u.history
	span := gitrepo.Span{Want: tip, Held: h.tip, Paths: paths, Limit: maxHistory}
	if !slices.Equal(h.paths, paths) {
		span.Held = gitobject.ID{}
	}
	ids, continues, err := u.deps.Repository.Walk(ctx, span)
	if err != nil {
		return nil, err
	}
	own, err := u.withTrailers(ctx, ids)
	if err != nil {
		return nil, err
	}
	if !continues {
		h.ours = map[slot]pipeline.Pin{}
	}
	maps.Copy(h.ours, lastWritten(own))
	h.tip, h.paths = tip, paths
	untold := slices.DeleteFunc(own, func(c ownCommit) bool {
		return !u.committer.made(c) || !continues && time.Since(c.by.When) > retold
	})
	slices.Reverse(untold)
	return untold, nil
}

// withTrailers are those of the commits that say what they wrote.
func (u *Updater) withTrailers(ctx context.Context, ids []gitobject.ID) ([]ownCommit, error) {
	var own []ownCommit
	for _, id := range ids {
		commit, err := u.deps.Repository.Commit(ctx, id)
		if fault.Is(err, fault.Invalid) {
			continue // malformed, so not of ours
		}
		if err != nil {
			return nil, err
		}
		trailers := commit.Trailers()
		if groups := readMessage(trailers); len(groups) > 0 {
			own = append(own, ownCommit{id: id, by: commit.Committer, writer: valueOf(trailers, trailerWriter), groups: groups})
		}
	}
	return own, nil
}

// valueOf is the value of a trailer; empty if it is not there.
func valueOf(trailers []gitobject.Trailer, key string) string {
	for _, t := range trailers {
		if strings.EqualFold(t.Key, key) {
			return t.Value
		}
	}
	return ""
}

// lastWritten is what each slot got last by commits that come newest first.
func lastWritten(commits []ownCommit) map[slot]pipeline.Pin {
	last := map[slot]pipeline.Pin{}
	for _, commit := range commits {
		for _, g := range commit.groups {
			for _, image := range g.Images {
				at := slot{App: g.App, Environment: g.Environment, Image: image.Name}
				if _, newer := last[at]; !newer {
					last[at] = image.Pin
				}
			}
		}
	}
	return last
}

// replaced are the values of ours in an environment that something else stands in place of, by image name: what we wrote.
func (h *history) replaced(app, environment string, images map[string]pipeline.Running) map[string]pipeline.Pin {
	var out map[string]pipeline.Pin
	for name, running := range images {
		ours, wrote := h.ours[slot{App: app, Environment: environment, Image: name}]
		if !wrote || len(running.Pins) == 0 || len(running.Pins) == 1 && running.Pins[0] == ours {
			continue
		}
		if out == nil {
			out = map[string]pipeline.Pin{}
		}
		out[name] = ours
	}
	return out
}
