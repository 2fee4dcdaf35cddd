// Package gitobjecttest keeps Git objects in memory and makes keys, for tests.
package gitobjecttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// ErrAbsent is what reading an object that was never put returns.
var ErrAbsent = errors.New("object is absent")

// Object is what a store keeps.
type Object struct {
	Type gitobject.Type
	Raw  []byte
}

// Store is an object database in memory. It implements gitobject.TreeReader
// and gitobject.BlobReader and may be used concurrently.
type Store struct {
	algorithm gitobject.Algorithm

	mu      sync.Mutex
	objects map[gitobject.ID]Object
	reads   int
}

// NewStore makes an empty store.
func NewStore(a gitobject.Algorithm) *Store {
	return &Store{algorithm: a, objects: map[gitobject.ID]Object{}}
}

// Put stores an object. It panics on what has no name, for tests know better.
func (s *Store) Put(t gitobject.Type, raw []byte) gitobject.ID {
	id, err := gitobject.Hash(s.algorithm, t, raw)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[id] = Object{Type: t, Raw: raw}
	return id
}

// Replace puts other content under a name it does not hash to.
func (s *Store) Replace(id gitobject.ID, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[id] = Object{Type: s.objects[id].Type, Raw: raw}
}

// Blob reads a blob.
func (s *Store) Blob(_ context.Context, id gitobject.ID) ([]byte, error) {
	return s.read(gitobject.TypeBlob, id)
}

// Tree reads and decodes a tree.
func (s *Store) Tree(_ context.Context, id gitobject.ID) (gitobject.Tree, error) {
	raw, err := s.read(gitobject.TypeTree, id)
	if err != nil {
		return nil, err
	}
	return gitobject.DecodeTree(s.algorithm, raw)
}

// Raw is the content of an object of any type; nil when it is absent.
func (s *Store) Raw(id gitobject.ID) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[id].Raw
}

// All is a copy of everything in the store.
func (s *Store) All() map[gitobject.ID]Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.objects)
}

// Reads counts the trees and blobs that were read.
func (s *Store) Reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func (s *Store) read(t gitobject.Type, id gitobject.ID) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	object, found := s.objects[id]
	if !found || object.Type != t {
		return nil, fmt.Errorf("%s %s: %w", t, id, ErrAbsent)
	}
	return object.Raw, nil
}

// PutFiles stores a tree of regular files, given by path, and returns its id.
func (s *Store) PutFiles(files map[string]string) gitobject.ID {
	leaves := make(map[string]gitobject.Entry, len(files))
	for path, content := range files {
		id := s.Put(gitobject.TypeBlob, []byte(content))
		leaves[path] = gitobject.Entry{Mode: gitobject.ModeFile, ID: id}
	}
	return s.PutEntries(leaves)
}

// PutEntries stores a tree of entries, given by path, and returns its id. The
// names in the entries are taken from the paths.
func (s *Store) PutEntries(leaves map[string]gitobject.Entry) gitobject.ID {
	var entries []gitobject.Entry
	below := map[string]map[string]gitobject.Entry{}
	for _, path := range slices.Sorted(maps.Keys(leaves)) {
		entry := leaves[path]
		dir, rest, nested := strings.Cut(path, "/")
		if !nested {
			entry.Name = path
			entries = append(entries, entry)
			continue
		}
		if below[dir] == nil {
			below[dir] = map[string]gitobject.Entry{}
		}
		below[dir][rest] = entry
	}
	for _, dir := range slices.Sorted(maps.Keys(below)) {
		id := s.PutEntries(below[dir])
		entries = append(entries, gitobject.Entry{Mode: gitobject.ModeDir, Name: dir, ID: id})
	}
	tree, err := gitobject.NewTree(entries)
	if err != nil {
		panic(err)
	}
	return s.Put(gitobject.TypeTree, tree.Encode())
}
