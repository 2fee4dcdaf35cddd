// Package gitrepo keeps a bare mirror of one remote repository: it fetches, reads objects, finds chains of commits,
// writes signed commits without a work tree and pushes them with the expected old value.
//
// Talking to the remote is left to the git binary, as a process group with an environment of its own, bounded in time
// and output; but a commit that was made here is pushed over HTTP without it, and git is asked again whenever that is not
// as usual. Reading goes through one pooled `git cat-file`, writing objects is done here. Nothing retries: what a
// caller can do about an error is its kind.
//
// The mirror is a cache. It can be deleted, and it is rebuilt when it turns out to be damaged.
package gitrepo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/redact"
)

// lockPatience is how long Open waits for a predecessor's last command to end.
const lockPatience = 30 * time.Second

// Repo is the mirror of one repository. It is safe for concurrent use; what changes the mirror happens one at a time.
type Repo struct {
	cfg     Config
	git     string
	lock    *os.File
	busy    chan struct{} // holds one token while a command may change the mirror
	suspect atomic.Bool   // a command was stopped half way and may have left lock files
	rebuilt atomic.Bool   // the mirror was rebuilt once already
	objects *objects
	made    *lru[made] // commits of our own that were made last
	http    *smartHTTP // nil for a remote that git alone talks to
	metrics *metrics
	secrets *redact.Secrets // what the remote is sent

	deflaters sync.Pool // of *zlib.Writer

	mu        sync.RWMutex
	algorithm gitobject.Algorithm // 0 until the mirror exists
	refs      map[string]gitobject.ID
	rest      time.Time // see Rest
}

// Open takes the state directory of a mirror for this process and reads what it holds. It does not talk to the remote.
func Open(ctx context.Context, cfg Config) (*Repo, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("repository %q: %w", cfg.Name, err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("repository %q: %w", cfg.Name, err)
	}
	patience, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	lock, err := acquire(patience, cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("repository %q: %w", cfg.Name, err)
	}
	r := &Repo{cfg: cfg, git: git, lock: lock, busy: make(chan struct{}, 1), metrics: newMetrics(cfg.Metrics), secrets: redact.New()}
	r.objects, r.made = newObjects(r), newLRU[made](maxMade)
	if native(cfg.URL) {
		r.http = newSmartHTTP(cfg.URL)
	}
	if err := r.load(ctx); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// load looks at what a predecessor left.
func (r *Repo) load(ctx context.Context) error {
	algorithm, err := r.cfg.mirrorAlgorithm(r.gitDir())
	if err != nil {
		return fmt.Errorf("repository %q: %w", r.cfg.Name, err)
	}
	if algorithm == 0 {
		return r.discard()
	}
	r.sweep()
	r.setAlgorithm(algorithm)
	if err := r.readRefs(ctx); err != nil && ctx.Err() == nil {
		return r.discard()
	}
	return ctx.Err()
}

// Close ends the mirror's process and gives its directory free. Nobody may be using the mirror.
func (r *Repo) Close() error {
	r.objects.close()
	if r.http != nil {
		r.http.kept.CloseIdle()
	}
	return r.lock.Close()
}

// Name is the repository's name in the configuration.
func (r *Repo) Name() string { return r.cfg.Name }

// Algorithm is the hash the repository's ids are made with; 0 before the first Fetch.
func (r *Repo) Algorithm() gitobject.Algorithm {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.algorithm
}

func (r *Repo) setAlgorithm(a gitobject.Algorithm) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.algorithm = a
}

func (r *Repo) gitDir() string { return filepath.Join(r.cfg.Dir, "mirror.git") }

// enter waits until nobody else changes the mirror.
func (r *Repo) enter(ctx context.Context) (leave func(), err error) {
	select {
	case r.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for %q: %w", r.cfg.Name, context.Cause(ctx))
	}
	if r.suspect.Swap(false) {
		r.sweep()
	}
	return func() { <-r.busy }, nil
}

// sweep removes the lock files and unfinished packs of commands that were killed. Every live one is ours and has ended,
// since we hold the directory's lock.
func (r *Repo) sweep() {
	_ = filepath.WalkDir(r.gitDir(), func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // what cannot be read cannot be swept
		case entry.IsDir():
			return nil
		}
		stale, _ := filepath.Match("tmp_*", entry.Name())
		if stale || filepath.Ext(path) == ".lock" {
			_ = os.Remove(path) //nolint:gosec // nobody else may write here, and nothing is followed
		}
		return nil
	})
}

// discard removes the mirror, so that the next Fetch makes a new one.
func (r *Repo) discard() error {
	r.objects.close()
	r.mu.Lock()
	r.algorithm, r.refs = 0, nil
	r.mu.Unlock()
	// Out of the way first: a removal that is killed half way must not leave half a mirror.
	trash, err := os.MkdirTemp(r.cfg.Dir, "trash-")
	if err == nil {
		err = os.Rename(r.gitDir(), filepath.Join(trash, "mirror.git"))
	}
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("repository %q: discard mirror: %w", r.cfg.Name, err)
	}
	left, _ := filepath.Glob(filepath.Join(r.cfg.Dir, "trash-*"))
	unfinished, _ := filepath.Glob(filepath.Join(r.cfg.Dir, "new-*"))
	for _, dir := range slices.Concat(left, unfinished) {
		_ = os.RemoveAll(dir)
	}
	return nil
}

// absent is what reading a mirror that was never fetched returns.
func (r *Repo) absent() error {
	return fault.New(fault.NotFound, "repository %q was not fetched yet", r.cfg.Name)
}
