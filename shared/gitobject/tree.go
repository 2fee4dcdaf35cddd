package gitobject

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Mode is the kind and permission of an entry, as Git writes it in octal.
type Mode uint32

// The modes Git writes today. No other is accepted.
const (
	ModeDir     Mode = 0o040000
	ModeFile    Mode = 0o100644
	ModeExec    Mode = 0o100755
	ModeSymlink Mode = 0o120000
	ModeGitlink Mode = 0o160000
)

// IsDir is true for a directory.
func (m Mode) IsDir() bool { return m == ModeDir }

// IsRegular is true for a file, executable or not.
func (m Mode) IsRegular() bool { return m == ModeFile || m == ModeExec }

// String is the octal form Git writes in a tree.
func (m Mode) String() string { return strconv.FormatUint(uint64(m), 8) }

func (m Mode) valid() bool {
	switch m {
	case ModeDir, ModeFile, ModeExec, ModeSymlink, ModeGitlink:
		return true
	}
	return false
}

// parseMode is zero for what is not the one spelling of a mode.
func parseMode(word string) Mode {
	switch word {
	case "40000":
		return ModeDir
	case "100644":
		return ModeFile
	case "100755":
		return ModeExec
	case "120000":
		return ModeSymlink
	case "160000":
		return ModeGitlink
	}
	return 0
}

// Entry is one line of a tree. The zero value stands for an absent entry.
type Entry struct {
	Mode Mode
	Name string
	ID   ID
}

// IsZero is true for an absent entry.
func (e Entry) IsZero() bool { return e == Entry{} }

// compare orders entries as Git does: a directory sorts as if its name ended
// in a slash.
func (e Entry) compare(other Entry) int {
	n := min(len(e.Name), len(other.Name))
	if c := strings.Compare(e.Name[:n], other.Name[:n]); c != 0 {
		return c
	}
	return cmp.Compare(e.byteAt(n), other.byteAt(n))
}

func (e Entry) byteAt(i int) byte {
	switch {
	case i < len(e.Name):
		return e.Name[i]
	case e.Mode.IsDir():
		return '/'
	}
	return 0
}

// Tree is one directory, sorted as Git sorts.
type Tree []Entry

// NewTree sorts entries into a tree and refuses what no tree may hold.
func NewTree(entries []Entry) (Tree, error) {
	t := Tree(slices.Clone(entries))
	slices.SortFunc(t, Entry.compare)
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

// DecodeTree reads a tree as strictly as `git fsck --strict`.
func DecodeTree(a Algorithm, raw []byte) (Tree, error) {
	if a.Size() == 0 {
		return nil, malformed("tree of %s", a)
	}
	if len(raw) > MaxObjectSize {
		return nil, malformed("tree of %d bytes is larger than %d", len(raw), MaxObjectSize)
	}
	const shortest = len("40000 x\x00")
	t := make(Tree, 0, min(len(raw)/(shortest+a.Size()), 1024))
	for rest := string(raw); len(rest) > 0; {
		entry, after, err := decodeEntry(a, rest)
		if err != nil {
			return nil, err
		}
		t, rest = append(t, entry), after
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

func decodeEntry(a Algorithm, raw string) (Entry, string, error) {
	word, rest, ok := strings.Cut(raw, " ")
	mode := parseMode(word)
	if !ok || mode == 0 {
		return Entry{}, "", malformed("tree entry begins with %q, which is no mode of Git's", clip(word))
	}
	name, rest, ok := strings.Cut(rest, "\x00")
	if !ok || len(rest) < a.Size() {
		return Entry{}, "", malformed("tree entry is cut short")
	}
	e := Entry{Mode: mode, Name: name, ID: ID{algorithm: a}}
	copy(e.ID.sum[:], rest[:a.Size()])
	return e, rest[a.Size():], nil
}

// check is what fsck asks of a tree.
func (t Tree) check() error {
	if len(t) > MaxTreeEntries {
		return malformed("tree of %d entries is larger than %d", len(t), MaxTreeEntries)
	}
	for i, e := range t {
		if err := e.check(); err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		if order := t[i-1].compare(e); order > 0 {
			return malformed("entry %q is not sorted", clip(e.Name))
		} else if order == 0 || t[:i].hasTwin(e) {
			return malformed("entry %q appears twice", clip(e.Name))
		}
	}
	return nil
}

func (e Entry) check() error {
	if !e.Mode.valid() {
		return malformed("entry %q has mode %s", clip(e.Name), e.Mode)
	}
	if e.ID.isNull() {
		return malformed("entry %q names the null object", clip(e.Name))
	}
	return checkName(e.Name, e.Mode)
}

// hasTwin finds a file of the same name before a directory; other entries may
// sort between the two.
func (t Tree) hasTwin(e Entry) bool {
	if !e.Mode.IsDir() {
		return false
	}
	_, found := slices.BinarySearchFunc(t, Entry{Name: e.Name}, Entry.compare)
	return found
}

// Encode is the content of the tree object. It does not check: a tree that was
// not decoded or made by NewTree or Apply may encode to what Git refuses.
func (t Tree) Encode() []byte {
	size := 0
	for _, e := range t {
		size += len("100644 \x00") + len(e.Name) + e.ID.algorithm.Size()
	}
	raw := make([]byte, 0, size)
	for _, e := range t {
		raw = strconv.AppendUint(raw, uint64(e.Mode), 8)
		raw = append(raw, ' ')
		raw = append(raw, e.Name...)
		raw = append(raw, 0)
		raw = append(raw, e.ID.sum[:e.ID.algorithm.Size()]...)
	}
	return raw
}

// Lookup finds an entry by name.
func (t Tree) Lookup(name string) (Entry, bool) {
	for _, kind := range []Mode{ModeFile, ModeDir} {
		i, found := slices.BinarySearchFunc(t, Entry{Name: name, Mode: kind}, Entry.compare)
		if found {
			return t[i], true
		}
	}
	return Entry{}, false
}
