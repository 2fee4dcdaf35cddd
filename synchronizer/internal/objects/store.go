// Package objects keeps Git objects on disk under their names.
//
// Content is hashed when it comes in and again when it is read, so that neither a lying peer nor a bad disk can change
// what an id means. What is lost is fetched again; nothing here is the only copy of anything.
package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// maxTrees bounds the decoded trees that are kept in memory.
const maxTrees = 4096

// Store is a folder of objects. It is safe for concurrent use; two processes must not share one.
type Store struct {
	dir   string
	below *Store // what is not here may be there; nil for none
	mu    sync.Mutex
	trees map[gitobject.ID]gitobject.Tree
}

// Open returns the store in a folder, which it makes when it is missing.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	if err := forgetScratches(dir); err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	return &Store{dir: dir, trees: map[gitobject.ID]gitobject.Tree{}}, nil
}

// Put stores an object after checking that it hashes to its name.
func (s *Store) Put(id gitobject.ID, kind gitobject.Type, content []byte) error {
	if err := gitobject.Check(id, kind, content); err != nil {
		return fault.Wrap(fault.Invalid, &MismatchError{ID: id, Kind: kind, cause: err})
	}
	if s.holds(id) { // what is only below may be collected there
		return nil
	}
	path := s.path(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("store %s: %w", id, err)
	}
	tmp := filepath.Join(s.dir, "tmp", id.String())
	if err := os.WriteFile(tmp, append([]byte(kind.String()+"\x00"), content...), 0o600); err != nil {
		return fmt.Errorf("store %s: %w", id, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("store %s: %w", id, err)
	}
	return nil
}

// MismatchError says that content came under a name that is not its hash.
type MismatchError struct {
	ID    gitobject.ID
	Kind  gitobject.Type
	cause error
}

// Error names the object.
func (e *MismatchError) Error() string { return fmt.Sprintf("%s %s: %v", e.Kind, e.ID, e.cause) }

// Unwrap returns what the check found.
func (e *MismatchError) Unwrap() error { return e.cause }

// Has reports whether an object is there, without reading it.
func (s *Store) Has(id gitobject.ID) bool { return s.holds(id) || s.below != nil && s.below.Has(id) }

// holds reports whether an object is in this very store.
func (s *Store) holds(id gitobject.ID) bool {
	_, err := os.Stat(s.path(id))
	return err == nil
}

func (s *Store) path(id gitobject.ID) string {
	name := id.String()
	if len(name) < 2 {
		return filepath.Join(s.dir, "none")
	}
	return filepath.Join(s.dir, name[:2], name[2:])
}

// read returns an object's content. One that is damaged is removed, so that it can be fetched again.
func (s *Store) read(id gitobject.ID, want gitobject.Type) ([]byte, error) {
	raw, err := os.ReadFile(s.path(id))
	if errors.Is(err, fs.ErrNotExist) && s.below != nil {
		return s.below.read(id, want)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "%s %s is not held", want, id)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", id, err)
	}
	word, content, _ := bytes.Cut(raw, []byte{0})
	if string(word) != want.String() {
		return nil, fault.New(fault.Invalid, "object %s is not a %s", id, want)
	}
	if err := gitobject.Check(id, want, content); err != nil {
		_ = os.Remove(s.path(id))
		return nil, fault.New(fault.NotFound, "%s %s was damaged on disk and is fetched again: %w", want, id, err)
	}
	return content, nil
}

// Tree returns a tree.
func (s *Store) Tree(_ context.Context, id gitobject.ID) (gitobject.Tree, error) {
	s.mu.Lock()
	tree, ok := s.trees[id]
	s.mu.Unlock()
	if ok {
		return tree, nil
	}
	content, err := s.read(id, gitobject.TypeTree)
	if err != nil {
		return nil, err
	}
	tree, err = gitobject.DecodeTree(id.Algorithm(), content)
	if err != nil {
		return nil, fault.New(fault.Invalid, "tree %s: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.trees) >= maxTrees {
		clear(s.trees)
	}
	s.trees[id] = tree
	return tree, nil
}

// Blob returns a blob's content.
func (s *Store) Blob(_ context.Context, id gitobject.ID) ([]byte, error) {
	return s.read(id, gitobject.TypeBlob)
}

// Commit returns a commit as Git stores it.
func (s *Store) Commit(_ context.Context, id gitobject.ID) ([]byte, error) {
	return s.read(id, gitobject.TypeCommit)
}

// Tag returns an annotated tag as Git stores it.
func (s *Store) Tag(_ context.Context, id gitobject.ID) ([]byte, error) {
	return s.read(id, gitobject.TypeTag)
}

// Size returns how many objects there are and their bytes on disk. It looks at every file; do not ask all the time.
func (s *Store) Size() (count int, bytes int64) {
	_ = filepath.WalkDir(s.dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil //nolint:nilerr // what cannot be read has no size
		}
		if stat, err := entry.Info(); err == nil {
			count++
			bytes += stat.Size()
		}
		return nil
	})
	return count, bytes
}
