package automator

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/githost"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/message"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/relay"
	"github.com/tandem-cd/tandem/automator/internal/scan"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/run"
	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

// fetchRetry is how soon a fetch that failed is made again.
const fetchRetry = 5 * time.Second

// repository is one Git repository with the writers of its branches.
type repository struct {
	cfg     RepositoryConfig
	owner   *Automator
	mirror  *gitrepo.Repo
	writers []*update.Updater // of each branch; that of the branch with the pipelines first
	fetch   chan struct{}
	moved   chan struct{}
	tidy    tidier
	left    chan struct{} // a fetch may have left something behind; for tidy
	set     atomic.Pointer[pipeline.Set]
	trouble atomic.Pointer[error]                    // why the last fetch failed
	fetched atomic.Bool                              // whether one succeeded
	granted atomic.Pointer[map[string][]relay.Grant] // by cluster
	folder  gitobject.ID                             // the tree that set was read from; follow's alone
}

func openRepositories(ctx context.Context, a *Automator, signer gitobject.Signer) (repositories, error) {
	all, pauses := repositories{}, &githost.Pauses{}
	turn := make(chan struct{}, 1)
	for _, cfg := range a.cfg.Repositories {
		r := &repository{cfg: cfg, owner: a, fetch: make(chan struct{}, 1), moved: make(chan struct{}, 1), left: make(chan struct{}, 1)}
		mirror, err := cfg.mirror(filepath.Join(a.cfg.StateDir, "repositories", cfg.Name), a.vault.Source, pauses)
		if err != nil {
			return all, err
		}
		mirror.OnChange = func([]gitrepo.RefChange) { signal(r.moved) }
		words, err := message.Parse(cfg.Message)
		if err != nil {
			return all, err
		}
		metrics := prometheus.WrapRegistererWith(prometheus.Labels{"repository": cfg.Name}, a.metrics)
		mirror.Metrics = metrics
		host, err := cfg.host(mirror, pauses)
		if err != nil {
			return all, err
		}
		if r.mirror, err = gitrepo.Open(ctx, mirror); err != nil {
			return all, err
		}
		r.tidy = tidier{mirror: r.mirror, fetched: r.left, turn: turn, log: a.log.With(zap.String(telemetry.Repository, cfg.Name))}
		all[cfg.Name] = r
		for _, branch := range cfg.branches() {
			r.writers = append(r.writers, r.writer(branch, update.Deps{
				Repository: r.mirror, Host: host, Images: images{a.scanner}, Signatures: a.checker, Evidence: evidence{a.fleet},
				Events: a.events, Log: a.log, Metrics: prometheus.WrapRegistererWith(prometheus.Labels{"branch": branch}, metrics),
			}, update.Config{Signer: signer, Words: words}))
		}
	}
	return all, nil
}

// writer makes the writer of one branch.
func (r *repository) writer(branch string, deps update.Deps, cfg update.Config) *update.Updater {
	cfg.Source = revision.Source{Repository: r.cfg.Name, Ref: revision.BranchRef(branch)}
	cfg.Home = r.cfg.home()
	cfg.Name, cfg.Email = r.owner.cfg.Signing.Name, r.owner.cfg.Signing.Email
	return update.New(cfg, deps)
}

// wake has all branches looked at.
func (r *repository) wake() {
	for _, w := range r.writers {
		w.Wake()
	}
}

func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (r *repository) tasks() []run.Task {
	tasks := []run.Task{
		{Name: "fetch " + r.cfg.Name, Run: r.refresh},
		{Name: "follow " + r.cfg.Name, Run: r.follow},
		{Name: "tidy " + r.cfg.Name, Run: r.tidy.run},
	}
	for i, branch := range r.cfg.branches() {
		tasks = append(tasks, run.Task{Name: "update " + r.cfg.Name + " " + branch, Run: r.writers[i].Run})
	}
	return tasks
}

// hint has the repository fetched now.
func (r *repository) hint() { signal(r.fetch) }

// refresh fetches the repository when somebody hints that it changed, and every now and then.
func (r *repository) refresh(ctx context.Context) error {
	signal(r.moved) // what a former process fetched is there already
	for {
		wait := r.cfg.PollInterval.Or(DefaultPollInterval)
		if _, err := r.mirror.Fetch(ctx); err != nil && ctx.Err() == nil {
			r.owner.log.Warn("repository not fetched", zap.String(telemetry.Repository, r.cfg.Name), zap.Error(err))
			r.trouble.Store(&err)
			wait = fetchRetry
		} else {
			r.trouble.Store(nil)
			r.fetched.Store(true)
			signal(r.left)
		}
		if err := sleep(ctx, wait, r.fetch, r.mirror.Rest); err != nil {
			return err
		}
	}
}

// sleep waits until the repository is to be fetched: for a time, or until somebody hints that it changed and the mirror has
// had its rest, whichever comes first.
func sleep(ctx context.Context, wait time.Duration, hinted <-chan struct{}, rest func() time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	case <-hinted:
	}
	rested := time.NewTimer(rest())
	defer rested.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-rested.C:
	}
	return nil
}

// follow wakes whoever depends on the refs when one of them moved. Clusters come first: nothing else is in their way.
func (r *repository) follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.moved:
		}
		if err := r.reload(ctx); err != nil && ctx.Err() == nil {
			r.owner.log.Warn("pipelines not read", zap.String(telemetry.Repository, r.cfg.Name), zap.Error(err))
		}
		r.owner.relay.Changed()
		r.owner.followImages()
		r.wake()
	}
}

// reload reads pipelines and grants from the branch. While the file of clusters cannot be read, its last good state counts:
// a typing error must not cut clusters off.
func (r *repository) reload(ctx context.Context) error {
	commit, _, ok := r.mirror.Resolve(ctx, r.cfg.ref())
	if !ok {
		return nil
	}
	decoded, err := r.mirror.Commit(ctx, commit)
	if err != nil {
		return err
	}
	folder, err := pipelineFolder(ctx, r.mirror, decoded.Tree)
	if err != nil || r.set.Load() != nil && folder == r.folder {
		return err // most commits change nothing here, and clusters wait
	}
	files, err := pipelineFiles(ctx, r.mirror, decoded.Tree)
	if err != nil {
		return err
	}
	set := pipeline.Load(r.cfg.home(), files)
	if before := r.set.Load(); before != nil && set.Clusters == nil && files[pipeline.ClustersFile] != nil {
		set.Clusters = before.Clusters
	}
	grants := grantsOf(r.cfg.Name, set.Clusters)
	r.granted.Store(&grants)
	r.set.Store(&set)
	r.folder = folder
	return nil
}

// grantsOf indexes what a repository grants by cluster. Each repository grants itself only: whoever can write one
// repository decides nothing about another.
func grantsOf(repository string, clusters []pipeline.Cluster) map[string][]relay.Grant {
	grants := make(map[string][]relay.Grant, len(clusters))
	for _, c := range clusters {
		for _, g := range c.Grants {
			if g.Repository == repository {
				grants[c.Name] = append(grants[c.Name], relay.Grant{Repository: g.Repository, Refs: g.Refs, Paths: g.Paths})
			}
		}
	}
	return grants
}

// pipelineFolder returns the tree of .tandem below a root; zero when there is none.
func pipelineFolder(ctx context.Context, mirror *gitrepo.Repo, root gitobject.ID) (gitobject.ID, error) {
	tree, err := mirror.Tree(ctx, root)
	if err != nil {
		return gitobject.ID{}, err
	}
	entry, _ := tree.Lookup(pipeline.Folder)
	return entry.ID, nil
}

// pipelineFiles reads the files of .tandem below a root.
func pipelineFiles(ctx context.Context, mirror *gitrepo.Repo, root gitobject.ID) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := gitobject.Diff(ctx, mirror, gitobject.ID{}, root, []string{pipeline.Folder}, func(c gitobject.Change) error {
		if !c.To.Mode.IsRegular() {
			return nil
		}
		content, err := mirror.Blob(ctx, c.To.ID)
		files[c.Path] = content
		return err
	})
	return files, err
}

// ready reports why the repository cannot be worked with yet.
func (r *repository) ready() error {
	if r.set.Load() != nil {
		return nil
	}
	if err := r.trouble.Load(); err != nil {
		return *err
	}
	if r.fetched.Load() {
		return fmt.Errorf("repository %q has no %s; push that branch, or name another one in the configuration", r.cfg.Name, r.cfg.ref())
	}
	return fmt.Errorf("repository %q is being fetched", r.cfg.Name)
}

// repositories are all repositories by name.
type repositories map[string]*repository

// forRelay finds a mirror for the relay.
func (rs repositories) forRelay(name string) (relay.Repository, bool) {
	r, ok := rs[name]
	if !ok {
		return nil, false
	}
	return r.mirror, true
}

// grants returns what a cluster may receive.
func (rs repositories) grants(cluster string) relay.Grants {
	var grants relay.Grants
	for _, r := range rs {
		if granted := r.granted.Load(); granted != nil {
			grants.Known = append(grants.Known, (*granted)[cluster]...)
		} else {
			grants.Incomplete = true
		}
	}
	return grants
}

// name reports whether a pipeline names an image repository, of a Git repository of which a cluster is granted anything, and whether
// all is known that could.
func (rs repositories) name(cluster, image string) (named, known bool) {
	known = true
	for _, r := range rs {
		granted, set := r.granted.Load(), r.set.Load()
		if granted == nil || set == nil {
			known = false
			continue
		}
		if len((*granted)[cluster]) > 0 && set.Names(image) {
			return true, true
		}
	}
	return false, known
}

// run reports whether an environment runs an image, by what the writers saw last.
func (rs repositories) run(image signature.Image) bool {
	for _, r := range rs {
		for _, w := range r.writers {
			if w.Status().Runs(image) {
				return true
			}
		}
	}
	return false
}

// Updates returns what the writers of every repository saw last, for PipelineService.
func (rs repositories) Updates() []update.Status {
	statuses := make([]update.Status, 0, len(rs))
	for _, r := range rs {
		var branches []update.Status
		for _, w := range r.writers {
			branches = append(branches, w.Status())
		}
		statuses = append(statuses, update.Merge(branches[0], branches[1:]...))
	}
	return statuses
}

// ResolveCommit finds the commit that an abbreviation means.
func (rs repositories) ResolveCommit(ctx context.Context, name, prefix string) (gitobject.ID, error) {
	r, ok := rs[name]
	if !ok {
		return gitobject.ID{}, fault.New(fault.NotFound, "the automator has no repository %q", name)
	}
	return r.mirror.ResolveCommit(ctx, prefix)
}

// ContentAt returns the content id of paths at a commit.
func (rs repositories) ContentAt(ctx context.Context, name string, commit gitobject.ID, paths []string) (revision.ContentID, error) {
	r, ok := rs[name]
	if !ok {
		return revision.ContentID{}, fault.New(fault.NotFound, "the automator has no repository %q", name)
	}
	return relay.ContentAt(ctx, r.mirror, commit, paths)
}

// imageChanged wakes the writers: a tag or a digest became known or changed. It may be that of a signature.
func (a *Automator) imageChanged(repository string, _ time.Time) {
	a.checker.Recheck(repository)
	a.wakeWriters()
}

func (a *Automator) wakeWriters() {
	for _, r := range a.repos {
		r.wake()
	}
}

// followImages has the scanner follow the images of every pipeline.
func (a *Automator) followImages() {
	moving := map[string][]string{}
	for _, r := range a.repos {
		set := r.set.Load()
		if set == nil {
			return // a repository that is not read yet may follow images; a short list would forget them
		}
		for _, p := range set.Pipelines {
			for _, image := range p.Images {
				name := image.Repository.Name()
				tags := moving[name]
				if tag := image.Policy.Follows(); tag != "" {
					tags = append(tags, tag)
				}
				moving[name] = tags
			}
		}
	}
	targets := make([]scan.Target, 0, len(moving))
	for name, tags := range moving {
		slices.Sort(tags)
		targets = append(targets, scan.Target{Repository: name, Moving: slices.Compact(tags)})
	}
	a.scanner.Follow(targets)
}
