package update

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// view is everything a pass knows: the branch at one commit, what registries have and what clusters say.
type view struct {
	tip      gitobject.ID
	trees    map[string]gitobject.ID // the roots of branches as they are looked at, by ref
	set      pipeline.Set
	apps     []*app
	problems []Problem
}

// app is a pipeline with what its decisions depend on.
type app struct {
	*pipeline.Pipeline

	input   pipeline.Input
	outcome pipeline.Outcome
	surveys map[string]*survey // by environment
	seen    map[string]time.Time
}

// look reads the branch at a commit and decides what to do.
func (u *Updater) look(ctx context.Context, tip gitobject.ID) (*view, error) {
	v := &view{tip: tip, trees: map[string]gitobject.ID{}}
	root, err := u.tree(ctx, v, u.cfg.home())
	if err != nil {
		return nil, err
	}
	if root.IsZero() {
		return nil, &absentError{u.cfg.home()}
	}
	if v.set, err = u.pipelines(ctx, root); err != nil {
		return nil, err
	}
	if u.cfg.Source == u.cfg.home() {
		for _, p := range v.set.Problems {
			v.problems = append(v.problems, Problem{Problem: p})
		}
	}
	for _, p := range v.set.Pipelines {
		a := &app{Pipeline: p, surveys: map[string]*survey{}, seen: map[string]time.Time{}}
		if err := u.observe(ctx, v, a); err != nil {
			return nil, err
		}
		v.apps = append(v.apps, a)
	}
	return v, nil
}

// decide takes in what is not in the branch's tip and asks the pipelines.
func (u *Updater) decide(ctx context.Context, v *view) error {
	for _, a := range v.apps {
		for i, e := range a.Environments {
			if !u.cfg.needs(a.Pipeline, i) {
				continue
			}
			observed := a.input.Environments[e.Name]
			if u.cfg.writes(e) {
				observed.Ours = u.history.replaced(a.App, e.Name, observed.Images)
			}
			evidence, err := u.evidence(ctx, a, e)
			if err != nil {
				return err
			}
			observed.Evidence = evidence
			a.input.Environments[e.Name] = observed
		}
	}
	u.candidates(ctx, v)
	for _, a := range v.apps {
		a.input.Refusals = u.refusals(a)
		a.input.Now = time.Now()
		a.outcome = u.ofThisBranch(a.Pipeline, pipeline.Decide(a.Pipeline, a.input))
	}
	return nil
}

// loaded is what the folder .tandem said when it was read last.
type loaded struct {
	folder gitobject.ID
	set    pipeline.Set
}

// pipelines reads the folder .tandem. Passes are many, of a fleet's reports above all, and the folder hardly ever changes:
// it is parsed once for each of its trees.
func (u *Updater) pipelines(ctx context.Context, root gitobject.ID) (pipeline.Set, error) {
	folder, found, err := gitobject.Lookup(ctx, u.deps.Repository, root, pipeline.Folder)
	if err != nil {
		return pipeline.Set{}, err
	}
	if !found || !folder.Mode.IsDir() {
		return pipeline.Load(u.cfg.Home, nil), nil
	}
	if u.loaded != nil && u.loaded.folder == folder.ID {
		return u.loaded.set, nil
	}
	var wanted []file
	err = walk(ctx, u.deps.Repository, gitobject.Change{Path: pipeline.Folder, To: folder}, func(c gitobject.Change) error {
		if c.To.Mode.IsRegular() {
			wanted = append(wanted, file{path: c.Path, id: c.To.ID})
		}
		return nil
	})
	if err != nil {
		return pipeline.Set{}, err
	}
	files := make(map[string][]byte, len(wanted))
	if err := u.surveys.contents(ctx, wanted, files); err != nil {
		return pipeline.Set{}, err
	}
	u.loaded = &loaded{folder: folder.ID, set: pipeline.Load(u.cfg.Home, files)}
	return u.loaded.set, nil
}

// observe reads what branches have for each environment that matters here.
func (u *Updater) observe(ctx context.Context, v *view, a *app) error {
	a.input = pipeline.Input{Candidates: map[string]pipeline.Candidate{}, Environments: map[string]pipeline.Observed{}}
	for i, e := range a.Environments {
		if !u.cfg.needs(a.Pipeline, i) {
			continue
		}
		problems, err := u.survey(ctx, v, a, e)
		if err != nil {
			return err
		}
		if u.cfg.writes(e) { // of another branch its writer says what is wrong
			v.problems = append(v.problems, problems...)
		}
	}
	return nil
}

// survey reads what there is for one environment; nothing if its branch is not there.
func (u *Updater) survey(ctx context.Context, v *view, a *app, e pipeline.Environment) ([]Problem, error) {
	root, err := u.tree(ctx, v, u.cfg.sourceOf(e))
	if err != nil || root.IsZero() {
		return nil, err
	}
	s, err := u.surveys.at(ctx, root, e.Path, imagesOf(a.Pipeline))
	if fault.Is(err, fault.Invalid) {
		return []Problem{{
			Problem: pipeline.Problem{File: a.File, Line: e.Line, Message: err.Error()}, App: a.App, Environment: e.Name,
		}}, nil
	}
	if err != nil {
		return nil, err
	}
	a.surveys[e.Name] = s
	a.input.Environments[e.Name] = pipeline.Observed{Images: s.running(a.Pipeline)}
	return s.problems(a.App, e.Name), nil
}

// evidence says with which digests a cluster reported an environment healthy: those that Git has at the commit which the
// cluster names.
func (u *Updater) evidence(ctx context.Context, a *app, e pipeline.Environment) (pipeline.Evidence, error) {
	if e.Cluster == "" {
		return pipeline.Evidence{}, nil
	}
	report := u.deps.Evidence.At(e.Cluster, u.cfg.sourceOf(e), e.Path)
	if report.Commit.IsZero() {
		return pipeline.Evidence{State: report.State}, nil
	}
	commit, err := u.deps.Repository.Commit(ctx, report.Commit)
	if fault.Is(err, fault.NotFound) {
		return pipeline.Evidence{State: fmt.Sprintf("it reports %s, which is not in the repository", report.Commit)}, nil
	}
	if err != nil {
		return pipeline.Evidence{}, err
	}
	s, err := u.surveys.at(ctx, commit.Tree, e.Path, imagesOf(a.Pipeline))
	if err != nil {
		return pipeline.Evidence{}, err
	}
	healthy := map[string]string{}
	for name, running := range s.running(a.Pipeline) {
		if len(running.Pins) == 1 {
			healthy[name] = running.Pins[0].Digest
		}
	}
	return pipeline.Evidence{Healthy: healthy, Since: report.Since}, nil
}

// paths are the folders of the branch that the pipelines write, sorted.
func (u *Updater) paths(v *view) []string {
	var paths []string
	for _, a := range v.apps {
		for _, e := range a.Environments {
			if u.cfg.writes(e) {
				paths = append(paths, path.Clean("/" + e.Path)[1:])
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// status is what people see of a view.
func (u *Updater) statusOf(v *view) Status {
	s := Status{Source: u.cfg.Source, Tip: v.tip, Looked: time.Now(), Set: v.set, Problems: slices.Clone(v.problems)}
	for _, a := range v.apps {
		p := PipelineStatus{Pipeline: a.Pipeline, Candidates: a.input.Candidates}
		for _, e := range a.Environments {
			if !u.cfg.writes(e) {
				continue
			}
			observed := a.input.Environments[e.Name]
			status := EnvironmentStatus{Name: e.Name, Images: observed.Images, Reasons: a.reasons(e.Name)}
			if release, ok := a.ReleaseAt(observed); ok {
				status.Release = release.ID()
			}
			p.Environments = append(p.Environments, status)
		}
		s.Pipelines = append(s.Pipelines, p)
	}
	return s
}

// reasons says what happens next in an environment, or why nothing does.
func (a *app) reasons(environment string) []string {
	var reasons []string
	say := func(image, text string) {
		if image != "" {
			text = image + ": " + text
		}
		reasons = append(reasons, text)
	}
	for _, d := range a.outcome.Decisions {
		if d.Environment == environment {
			say(d.Image, fmt.Sprintf("%s is to be written: %s", d.To.Tag, d.Reason))
		}
	}
	for _, w := range a.outcome.Waits {
		if w.Environment == environment {
			say(w.Image, w.Reason)
		}
	}
	return reasons
}
