package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

const (
	folderMode = 0o755
	// maxBytes and maxEntries bound a tree. Git, OpenSSH and what they need are
	// a fifth of it.
	maxBytes   = 512 << 20
	maxEntries = 50_000
)

var (
	// ErrUnsafe is a name that would leave the tree.
	ErrUnsafe = errors.New("name leaves the image")
	// ErrLimit is a tree that is larger than a tree may be.
	ErrLimit = errors.New("larger than a layer may be")
)

// Entry is a file, a folder or a symbolic link.
type Entry struct {
	// Mode has the kind and the permissions. Set-uid, set-gid and devices have no
	// place in an image for a user without privileges.
	Mode fs.FileMode
	// Content is a file's.
	Content []byte
	// Target is where a symbolic link leads.
	Target string
	// Owner is the user and the group it belongs to; root by default.
	Owner int
}

// Tree is what an image's root holds. The zero value is empty.
type Tree struct {
	entries map[string]Entry
	bytes   int
}

// Add puts an entry at a slash-separated path below the root, with the folders
// above it. A later file takes the place of an earlier one.
func (t *Tree) Add(name string, entry Entry) error {
	clean, err := t.place(name)
	if err != nil {
		return err
	}
	if clean == "." {
		return nil // the root is always there
	}
	if kind := entry.Mode.Type(); kind != 0 && kind != fs.ModeDir && kind != fs.ModeSymlink {
		return fmt.Errorf("%q is a %v: only files, folders and symbolic links go into an image", name, kind)
	}
	if old, ok := t.entries[clean]; ok && old.Mode.IsDir() != entry.Mode.IsDir() {
		return fmt.Errorf("%q is both a folder and none", name)
	}
	entry.Mode = entry.Mode.Type() | entry.Mode.Perm()
	return t.put(clean, entry)
}

func (t *Tree) put(name string, entry Entry) error {
	for folder := path.Dir(name); folder != "."; folder = path.Dir(folder) {
		if _, ok := t.entries[folder]; !ok {
			t.set(folder, Entry{Mode: fs.ModeDir | folderMode})
		}
	}
	t.bytes += len(entry.Content) - len(t.entries[name].Content)
	t.set(name, entry)
	if t.bytes > maxBytes || len(t.entries) > maxEntries {
		return fmt.Errorf("%w: at %q, %d bytes in %d entries", ErrLimit, name, t.bytes, len(t.entries))
	}
	return nil
}

func (t *Tree) set(name string, entry Entry) {
	if t.entries == nil {
		t.entries = map[string]Entry{}
	}
	t.entries[name] = entry
}

// place is the path that a name means in the tree. Archives write ./usr/bin.
func (t *Tree) place(name string) (string, error) {
	parts := strings.Split(name, "/")
	if path.IsAbs(name) || slices.Contains(parts, "..") || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%w: %q", ErrUnsafe, name)
	}
	clean := path.Clean(name)
	for folder := path.Dir(clean); folder != "."; folder = path.Dir(folder) {
		if above, ok := t.entries[folder]; ok && !above.Mode.IsDir() {
			return "", fmt.Errorf("%w: %q leads through %q, which is no folder", ErrUnsafe, name, folder)
		}
	}
	return clean, nil
}

// File adds a file that everybody may read.
func (t *Tree) File(name string, content []byte) error {
	return t.Add(name, Entry{Mode: 0o644, Content: content})
}

// Program adds a file that everybody may run.
func (t *Tree) Program(name string, content []byte) error {
	return t.Add(name, Entry{Mode: 0o755, Content: content})
}

// Link adds a symbolic link.
func (t *Tree) Link(name, target string) error {
	return t.Add(name, Entry{Mode: fs.ModeSymlink | fs.ModePerm, Target: target})
}

// Get returns what is at a path, without following links.
func (t *Tree) Get(name string) (Entry, bool) {
	entry, ok := t.entries[path.Clean(name)]
	return entry, ok
}

// Names lists the paths in order, folders before what is in them.
func (t *Tree) Names() []string { return slices.Sorted(maps.Keys(t.entries)) }

// Bytes is how much the files hold.
func (t *Tree) Bytes() int { return t.bytes }
