package autobench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
)

const (
	// perFolder is how many files or folders one folder of the huge repository has.
	perFolder = 50
	// hugeHistory is how many commits it has besides the first.
	hugeHistory = 1000
	// indexTimeout bounds the wait for the first look.
	indexTimeout = 10 * time.Minute
)

// Edit is one image that changes in a huge repository, whose environment is all of it.
type Edit struct {
	Files int     `json:"files"`
	MiB   float64 `json:"mib"`
	// Clone is the first fetch, and Index the first look at all files after it.
	Clone float64 `json:"clone_s"`
	Index float64 `json:"index_s"`
	// Commit is from the registry's acknowledgement to the moment the branch has the commit, p50, and Bare the push of the
	// same commit by git.
	Commit float64 `json:"commit_ms"`
	P99    float64 `json:"commit_p99_ms"`
	Bare   float64 `json:"bare_push_ms"`
	// Behind is the same when somebody else has just pushed, which the automator does not know yet: the first push is
	// refused, and everything is looked at again.
	Behind float64 `json:"commit_behind_ms"`
	// Resident is the most memory that the process had, from its start on.
	Resident float64 `json:"rss_mib"`
	Samples  int     `json:"samples"`
}

// edit measures the first look at a huge repository, and edits in it.
func (b *bench) edit(ctx context.Context, w *world) error {
	o := b.opts
	b.say("Edit: one image in a repository of %d files.", o.Files)
	e, err := w.deployHuge(ctx)
	if err != nil {
		return err
	}
	if err := w.configure(ctx, settings{}); err != nil {
		return err
	}
	if err := w.measureIndex(ctx, e); err != nil {
		return err
	}
	b.say("  fetched in %.1f s, looked at in %.1f s", e.Clone, e.Index)
	w.notify()
	r, err := w.newRival(ctx)
	if err != nil {
		return err
	}
	moved := w.watchPushes()
	if err := w.profiled(ctx, EditPart, func(ctx context.Context) error { return w.measureBumps(ctx, e, r, moved) }); err != nil {
		return err
	}
	if e.Resident, err = measure.Peak(w.automator.ID()); err != nil {
		return err
	}
	b.report.Edit = e
	b.say("  committed in %.1f ms (%.1f ms when somebody was before us), bare push %.1f ms; %.1f MiB", e.Commit, e.Behind, e.Bare, e.Resident)
	return nil
}

// measureBumps has an image change again and again, every second time right after somebody else's push.
func (w *world) measureBumps(ctx context.Context, e *Edit, r *rival, moved moves) error {
	var ours, bareOnes, behind []time.Duration
	for i := 1; i <= 2*w.opts.Bumps; i++ {
		into := &ours
		if i%2 == 0 {
			into = &behind
			if _, err := w.git.Commit(ctx, repository, gitserver.Change{Files: map[string]string{hugeFile(i): plainFile(-i)}}); err != nil {
				return err
			}
		}
		took, err := w.bump(ctx, i, moved)
		if err != nil {
			return err
		}
		*into = append(*into, took)
		if took, err = r.push(ctx, moved); err != nil {
			return err
		}
		bareOnes = append(bareOnes, took)
	}
	s := summary(ours, bareOnes)
	e.Commit, e.P99, e.Bare, e.Samples = s.P50, s.P99, s.BareP50, s.Samples
	e.Behind = measure.Of(behind).P50
	return nil
}

// deployHuge commits the application among very many other files, and some history after it.
func (w *world) deployHuge(ctx context.Context) (*Edit, error) {
	e := &Edit{Files: w.opts.Files}
	files := make(map[string]string, w.opts.Files)
	size := 0
	for i := range w.opts.Files - 1 {
		content := plainFile(i)
		files[hugeFile(i)] = content
		size += len(content)
	}
	e.MiB = measure.Tenth(float64(size) / (1 << 20))
	if err := w.deployShop(ctx, files); err != nil {
		return nil, err
	}
	_, err := w.git.Grow(ctx, repository, hugeHistory, func(i int) (path, content string) {
		at := i % (w.opts.Files - 1)
		return hugeFile(at), plainFile(at + w.opts.Files)
	})
	if err != nil {
		return nil, err
	}
	// As a Git host keeps it.
	for _, args := range [][]string{{"repack", "-adbq"}, {"commit-graph", "write", "--reachable"}} {
		if _, err := w.git.Git(ctx, repository, args...); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// hugeFile is the path of the i-th file, below the environment of the application.
func hugeFile(i int) string {
	return fmt.Sprintf("env/%d/%d/%d.yaml", i/perFolder/perFolder, i/perFolder%perFolder, i%perFolder)
}

// plainFile is a manifest of half a kilobyte: every fourth runs an image, of somebody else.
func plainFile(i int) string {
	name := fmt.Sprintf("part-%d", i)
	if i%4 == 0 {
		return deployment(name, fmt.Sprintf("registry.example.com/team/%s:1.0.%d", name, max(i, -i)))
	}
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata:\n  text: |\n    %s\n", name, strings.Repeat(name+" ", 40))
}

// measureIndex starts the automator without a mirror.
func (w *world) measureIndex(ctx context.Context, e *Edit) error {
	began := time.Now()
	if err := w.start(ctx); err != nil {
		return err
	}
	fetched := time.Now()
	e.Clone = measure.Seconds(fetched.Sub(began))
	err := until(ctx, indexTimeout, "the first look", func(ctx context.Context) (bool, error) {
		passes, err := w.metric(ctx, `tandem_automator_update_passes_total{branch="main",repository="`+repository+`",result="looked"}`)
		return passes >= 1, err
	})
	e.Index = measure.Seconds(time.Since(fetched))
	return err
}
