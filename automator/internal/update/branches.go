package update

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// complete says where the pipelines are, if nobody did.
func (c Config) complete() Config {
	if c.Patience <= 0 {
		c.Patience = defaultPatience
	}
	if c.Home.Branch == "" {
		c.Home = pipeline.Home{Repository: c.Source.Repository, Branch: revision.BranchOf(c.Source.Ref)}
	}
	return c
}

// sourceOf is the branch that an environment is on.
func (c Config) sourceOf(e pipeline.Environment) revision.Source {
	return revision.Source{Repository: c.Source.Repository, Ref: revision.BranchRef(e.Branch)}
}

// writes tells whether an environment is on the branch that is written here. What is decided of the others is for their
// writers.
func (c Config) writes(e pipeline.Environment) bool { return c.sourceOf(e) == c.Source }

// needs tells whether what is written here depends on an environment: on those that are written, and on the one before each.
func (c Config) needs(p *pipeline.Pipeline, i int) bool {
	return c.writes(p.Environments[i]) || i+1 < len(p.Environments) && c.writes(p.Environments[i+1])
}

// home is the branch with the pipelines.
func (c Config) home() revision.Source {
	return c.sourceOf(pipeline.Environment{Branch: c.Home.Branch})
}

// absentError says that a branch is not there without which nothing can be decided.
type absentError struct{ branch revision.Source }

func (e *absentError) Error() string {
	return fmt.Sprintf("%s is not there, or was not fetched yet", e.branch)
}

// withoutBranch is the status while a branch is not there. Of the branch with the pipelines its own writer tells.
func (u *Updater) withoutBranch(e *absentError) Status {
	s := Status{Source: u.cfg.Source, Looked: time.Now()}
	if e.branch == u.cfg.Source {
		s.Problems = []Problem{{Problem: pipeline.Problem{Message: e.Error()}}}
	}
	return s
}

// tree is the root tree of a branch; zero if the mirror does not have it. During a pass a branch does not move.
func (u *Updater) tree(ctx context.Context, v *view, branch revision.Source) (gitobject.ID, error) {
	if tree, known := v.trees[branch.Ref]; known {
		return tree, nil
	}
	tip, found := v.tip, true
	if branch != u.cfg.Source {
		tip, found = u.deps.Repository.Tip(branch.Ref)
	}
	var tree gitobject.ID
	if found {
		commit, err := u.deps.Repository.Commit(ctx, tip)
		if err != nil {
			return tree, err
		}
		tree = commit.Tree
	}
	v.trees[branch.Ref] = tree
	return tree, nil
}

// outdated fetches the branch with the pipelines, if it is another than the one that is written, and tells whether it has others
// than were looked at: what somebody holds by now must not be written. On its own branch the push finds that out.
func (u *Updater) outdated(ctx context.Context) (bool, error) {
	home := u.cfg.home()
	if home == u.cfg.Source {
		return false, nil
	}
	if err := u.deps.Repository.FetchRef(ctx, home.Ref); err != nil {
		return false, err
	}
	tip, found := u.deps.Repository.Tip(home.Ref)
	if !found {
		return true, nil
	}
	commit, err := u.deps.Repository.Commit(ctx, tip)
	if err != nil {
		return false, err
	}
	folder, _, err := gitobject.Lookup(ctx, u.deps.Repository, commit.Tree, pipeline.Folder)
	return u.loaded == nil || u.loaded.folder != folder.ID, err
}

// ofThisBranch keeps what an outcome says of the environments that are written here.
func (u *Updater) ofThisBranch(p *pipeline.Pipeline, all pipeline.Outcome) pipeline.Outcome {
	elsewhere := func(name string) bool {
		return !slices.ContainsFunc(p.Environments, func(e pipeline.Environment) bool { return e.Name == name && u.cfg.writes(e) })
	}
	return pipeline.Outcome{
		Decisions: slices.DeleteFunc(all.Decisions, func(d pipeline.Decision) bool { return elsewhere(d.Environment) }),
		Waits:     slices.DeleteFunc(all.Waits, func(w pipeline.Wait) bool { return elsewhere(w.Environment) }),
	}
}

// toTell leaves out what a commit wrote to an environment of another branch, whose writer tells of it: branches begin at
// others, and are merged.
func (u *Updater) toTell(v *view, groups []written) []written {
	return slices.DeleteFunc(slices.Clone(groups), func(g written) bool {
		return slices.ContainsFunc(v.apps, func(a *app) bool {
			return a.App == g.App && slices.ContainsFunc(a.Environments, func(e pipeline.Environment) bool {
				return e.Name == g.Environment && !u.cfg.writes(e)
			})
		})
	})
}
