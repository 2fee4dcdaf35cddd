package objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// Root is a commit and the paths of its tree that somebody needs.
type Root struct {
	Commit gitobject.ID
	Paths  []string
}

// Complete reports whether everything at or below paths of a commit is held.
func (s *Store) Complete(ctx context.Context, commit gitobject.ID, paths []string) (bool, error) {
	missing := false
	err := s.walk(ctx, Root{Commit: commit, Paths: paths}, map[gitobject.ID]bool{}, func(id gitobject.ID, _ bool) bool {
		missing = missing || !s.Has(id)
		return !missing
	})
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil && !missing, err
}

// ContentID returns the content id of paths at a commit.
func (s *Store) ContentID(ctx context.Context, commit gitobject.ID, paths []string) (revision.ContentID, error) {
	tree, err := s.treeOf(ctx, commit)
	if err != nil {
		return revision.ContentID{}, err
	}
	return revision.ContentIDOf(ctx, s, tree, paths)
}

func (s *Store) treeOf(ctx context.Context, commit gitobject.ID) (gitobject.ID, error) {
	raw, err := s.Commit(ctx, commit)
	if err != nil {
		return gitobject.ID{}, err
	}
	decoded, err := gitobject.DecodeCommit(commit.Algorithm(), raw)
	if err != nil {
		return gitobject.ID{}, fault.New(fault.Invalid, "commit %s: %w", commit, err)
	}
	return decoded.Tree, nil
}

// Collect removes what no root needs, and everything that is not an object.
func (s *Store) Collect(ctx context.Context, roots []Root) (removed int, err error) {
	keep := map[gitobject.ID]bool{}
	for _, root := range roots {
		err := s.walk(ctx, root, keep, func(gitobject.ID, bool) bool { return true })
		if err != nil && !fault.Is(err, fault.NotFound) { // what is lost cannot be kept
			return 0, fmt.Errorf("collect: %w", err)
		}
	}
	names := make(map[string]bool, len(keep))
	for id := range keep {
		names[id.String()] = true
	}
	err = filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		folder, name := filepath.Split(path)
		if names[filepath.Base(folder)+name] {
			return nil
		}
		removed++
		return os.Remove(path) //nolint:gosec // the folder is this process's own
	})
	return removed, err
}

// walk visits the commit, the trees on the way to the root's paths, and everything below them, each id once.
// visit says whether to go on below.
func (s *Store) walk(ctx context.Context, root Root, seen map[gitobject.ID]bool, visit func(id gitobject.ID, isTree bool) bool) error {
	seen[root.Commit] = true
	if !visit(root.Commit, false) {
		return nil
	}
	tree, err := s.treeOf(ctx, root.Commit)
	if err != nil {
		return err
	}
	w := &walker{store: s, paths: root.Paths, seen: seen, visit: visit, partial: map[string]bool{}}
	return w.tree(ctx, "", tree, revision.CoveredBy(root.Paths, ""))
}

type walker struct {
	store   *Store
	paths   []string
	seen    map[gitobject.ID]bool
	visit   func(gitobject.ID, bool) bool
	partial map[string]bool // folders above a path that were looked at
}

// tree visits a tree. A tree above the paths may be met again with other entries to follow, so only trees inside them
// are skipped when they were seen.
func (w *walker) tree(ctx context.Context, path string, id gitobject.ID, inside bool) error {
	if inside && w.seen[id] && !w.partial[id.String()] {
		return nil
	}
	w.seen[id] = true
	if !inside {
		w.partial[id.String()] = true
	}
	if !w.visit(id, true) {
		return nil
	}
	tree, err := w.store.Tree(ctx, id)
	if err != nil {
		return err
	}
	for _, entry := range tree {
		if err := w.entry(ctx, path, entry, inside); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(ctx context.Context, folder string, entry gitobject.Entry, inside bool) error {
	path := entry.Name
	if folder != "" {
		path = folder + "/" + entry.Name
	}
	inside = inside || revision.CoveredBy(w.paths, path)
	if !inside && !w.leads(path) {
		return nil
	}
	if entry.Mode.IsDir() {
		return w.tree(ctx, path, entry.ID, inside)
	}
	if inside && entry.Mode != gitobject.ModeGitlink && !w.seen[entry.ID] {
		w.seen[entry.ID] = true
		w.visit(entry.ID, false)
	}
	return nil
}

func (w *walker) leads(folder string) bool {
	for _, p := range w.paths {
		if revision.Covers(folder, p) {
			return true
		}
	}
	return false
}
