package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// ErrUnchanged says that the changes are already what the base holds, so that there is nothing to commit.
var ErrUnchanged = errors.New("nothing changed")

// CommitMeta is what a commit says besides its content.
type CommitMeta struct {
	Author, Committer gitobject.Person
	// Message ends with its trailers.
	Message string
	// Signer signs the commit as `git commit -S` does; nil leaves it unsigned.
	Signer gitobject.Signer
}

// WriteFiles commits changes on top of base without a work tree and returns the commit, which only the mirror has and
// no ref names yet. A path's content is replaced and keeps its mode; a path that is not there becomes a regular file,
// and nil content removes one. A zero base makes a first commit without a parent.
func (r *Repo) WriteFiles(
	ctx context.Context, base gitobject.ID, changes map[string][]byte, meta CommitMeta,
) (gitobject.ID, error) {
	if r.Algorithm() == 0 {
		return gitobject.ID{}, r.absent()
	}
	commit := &gitobject.Commit{Author: meta.Author, Committer: meta.Committer, Message: meta.Message}
	var root gitobject.ID
	if !base.IsZero() {
		parent, err := r.Commit(ctx, base)
		if err != nil {
			return gitobject.ID{}, err
		}
		root, commit.Parents = parent.Tree, []gitobject.ID{base}
	}
	edited := &surgery{repo: r, seen: map[gitobject.ID]bool{}}
	tree, err := edited.directory(ctx, root, "", changes)
	if err != nil {
		return gitobject.ID{}, fmt.Errorf("commit to %q: %w", r.cfg.Name, err)
	}
	if tree == root {
		return gitobject.ID{}, fmt.Errorf("commit to %q: %w", r.cfg.Name, ErrUnchanged)
	}
	if tree.IsZero() {
		return gitobject.ID{}, fault.New(fault.Invalid, "commit to %q would leave no file", r.cfg.Name)
	}
	commit.Tree = tree
	if meta.Signer != nil {
		if commit.Signature, err = meta.Signer.Sign(commit.SignedPayload(), meta.Committer.When); err != nil {
			return gitobject.ID{}, err
		}
	}
	raw := commit.Encode()
	id, err := edited.write(gitobject.TypeCommit, raw)
	if err == nil {
		r.objects.commits.put(id, commit, 2*len(raw))
		own := made{parent: base, objects: edited.made}
		r.made.put(id, own, own.size())
	}
	return id, err
}

// surgery replaces files in trees.
type surgery struct {
	repo *Repo
	made []madeObject
	seen map[gitobject.ID]bool // of made: hosts refuse packs that hold an object twice
}

// write stores an object, and keeps it for the push.
func (s *surgery) write(kind gitobject.Type, content []byte) (gitobject.ID, error) {
	id, err := s.repo.writeObject(kind, content)
	if err == nil && !s.seen[id] {
		s.seen[id] = true
		s.made = append(s.made, madeObject{kind: kind, content: content})
	}
	return id, err
}

// directory returns the tree that id becomes; zero when nothing is left in it. Paths of changes are relative to it.
func (s *surgery) directory(
	ctx context.Context, id gitobject.ID, at string, changes map[string][]byte,
) (gitobject.ID, error) {
	if strings.Count(at, "/") >= gitobject.MaxDepth {
		return gitobject.ID{}, fault.New(fault.Invalid, "%q is deeper than %d", at, gitobject.MaxDepth)
	}
	var tree gitobject.Tree
	if !id.IsZero() {
		var err error
		if tree, err = s.repo.Tree(ctx, id); err != nil {
			return gitobject.ID{}, err
		}
	}
	delta, err := s.delta(ctx, tree, at, changes)
	if err != nil {
		return gitobject.ID{}, err
	}
	after, err := delta.Apply(tree)
	if err != nil {
		return gitobject.ID{}, fault.New(fault.Invalid, "%q: %w", at, err)
	}
	if len(after) == 0 {
		return gitobject.ID{}, nil
	}
	written, err := s.write(gitobject.TypeTree, after.Encode())
	if err == nil {
		s.repo.objects.trees.put(written, after, 64*len(after))
	}
	return written, err
}

// delta is what changes in one directory.
func (s *surgery) delta(
	ctx context.Context, tree gitobject.Tree, at string, changes map[string][]byte,
) (gitobject.Delta, error) {
	below := map[string]map[string][]byte{}
	for path, content := range changes {
		name, rest, _ := strings.Cut(path, "/")
		if below[name] == nil {
			below[name] = map[string][]byte{}
		}
		below[name][rest] = content
	}
	var delta gitobject.Delta
	for _, name := range slices.Sorted(maps.Keys(below)) {
		old, found := tree.Lookup(name)
		entry, err := s.entry(ctx, old, at+name, below[name])
		if err != nil {
			return gitobject.Delta{}, err
		}
		switch {
		case !entry.ID.IsZero():
			entry.Name = name
			delta.Set = append(delta.Set, entry)
		case found:
			delta.Remove = append(delta.Remove, name)
		}
	}
	return delta, nil
}

// entry is what one entry of a directory becomes: a file under the empty path, else a directory.
func (s *surgery) entry(
	ctx context.Context, old gitobject.Entry, path string, changes map[string][]byte,
) (gitobject.Entry, error) {
	content, isFile := changes[""]
	if !isFile {
		if !old.IsZero() && !old.Mode.IsDir() {
			return gitobject.Entry{}, fault.New(fault.Conflict, "%q is not a directory", path)
		}
		id, err := s.directory(ctx, old.ID, path+"/", changes)
		return gitobject.Entry{Mode: gitobject.ModeDir, ID: id}, err
	}
	if len(changes) > 1 {
		return gitobject.Entry{}, fault.New(fault.Invalid, "%q would be a file and a directory", path)
	}
	mode := gitobject.ModeFile
	if !old.IsZero() {
		mode = old.Mode
	}
	if !mode.IsRegular() {
		return gitobject.Entry{}, fault.New(fault.Conflict, "%q is not a regular file", path)
	}
	if content == nil {
		return gitobject.Entry{}, nil
	}
	id, err := s.write(gitobject.TypeBlob, content)
	return gitobject.Entry{Mode: mode, ID: id}, err
}
