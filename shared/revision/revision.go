// Package revision holds the value types that both agents reason with: sources, content ids and revisions.
//
// Pure: it does no I/O of its own.
package revision

import (
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// Limits on what a source may be made of.
const (
	// MaxRepositoryName bounds a repository's name, in bytes.
	MaxRepositoryName = 253
	// MaxRefName bounds a ref's name, in bytes.
	MaxRefName = 1024
	// MaxPaths bounds the paths of one tree.
	MaxPaths = 10_000
	// MaxPathLength bounds one path, in bytes.
	MaxPathLength = 4096
)

// Source is one line of history: a ref in a repository.
type Source struct {
	// Repository is the name in the automator's configuration, not a URL.
	Repository string
	// Ref is a full ref name such as "refs/heads/main".
	Ref string
}

// String returns the source as "repository@refs/heads/main".
func (s Source) String() string { return s.Repository + "@" + s.Ref }

// Validate reports whether both parts are well formed.
func (s Source) Validate() error {
	if s.Repository == "" || len(s.Repository) > MaxRepositoryName || strings.ContainsAny(s.Repository, "/\x00\n") {
		return fault.New(fault.Invalid, "repository %q is not a name of 1 to %d bytes without a slash", s.Repository, MaxRepositoryName)
	}
	if !strings.HasPrefix(s.Ref, "refs/") || len(s.Ref) > MaxRefName || strings.ContainsAny(s.Ref, " ~^:?*[\\\x00\n") || strings.Contains(s.Ref, "..") {
		return fault.New(fault.Invalid, "ref %q is not a full ref name such as refs/heads/main", s.Ref)
	}
	return nil
}

// ContentID is the hash of the sorted (path, object id) list of a tree: the state of those paths, whatever the commit.
type ContentID [32]byte

// ParseContentID reads the hexadecimal form.
func ParseContentID(text string) (ContentID, error) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return ContentID{}, fault.New(fault.Invalid, "content id %q is not hexadecimal", text)
	}
	return contentIDFromBytes(raw)
}

func contentIDFromBytes(raw []byte) (ContentID, error) {
	var id ContentID
	if len(raw) != len(id) {
		return id, fault.New(fault.Invalid, "content id has %d bytes, not %d", len(raw), len(id))
	}
	copy(id[:], raw)
	return id, nil
}

// String returns the hexadecimal form, empty for none.
func (c ContentID) String() string {
	if c.IsZero() {
		return ""
	}
	return hex.EncodeToString(c[:])
}

// Short returns the first 12 digits, for people.
func (c ContentID) Short() string {
	text := c.String()
	return text[:min(12, len(text))]
}

// IsZero reports whether there is none.
func (c ContentID) IsZero() bool { return c == ContentID{} }

// Revision is a commit and what it means for one tree.
type Revision struct {
	// Commit is what was looked at.
	Commit gitobject.ID
	// ContentID is the state of the tree there.
	ContentID ContentID
}

// IsZero reports whether there is none.
func (r Revision) IsZero() bool { return r.Commit.IsZero() }

// SortedPaths returns paths clean, relative, sorted and each once. The whole tree is "". Paths that leave the tree are
// refused.
func SortedPaths(paths []string) ([]string, error) {
	if len(paths) > MaxPaths {
		return nil, fault.New(fault.Invalid, "%d paths are more than %d", len(paths), MaxPaths)
	}
	cleaned := make([]string, 0, len(paths))
	for _, p := range paths {
		c, err := cleanPath(p)
		if err != nil {
			return nil, err
		}
		cleaned = append(cleaned, c)
	}
	slices.Sort(cleaned)
	return slices.Compact(cleaned), nil
}

// CleanPaths returns SortedPaths without those that lie below another.
func CleanPaths(paths []string) ([]string, error) {
	cleaned, err := SortedPaths(paths)
	if err != nil {
		return nil, err
	}
	all := make(map[string]bool, len(cleaned))
	for _, p := range cleaned {
		all[p] = true
	}
	return slices.DeleteFunc(cleaned, func(p string) bool { return hasAncestor(all, p) }), nil
}

// hasAncestor reports whether a folder above p is in the set.
func hasAncestor(set map[string]bool, p string) bool {
	for p != "" {
		at := strings.LastIndexByte(p, '/')
		p = p[:max(at, 0)]
		if set[p] {
			return true
		}
	}
	return false
}

func cleanPath(p string) (string, error) {
	if len(p) > MaxPathLength || strings.ContainsAny(p, "\x00\n\\") {
		return "", fault.New(fault.Invalid, "path %.100q is too long or has characters that no path here has", p)
	}
	if strings.HasPrefix(p, "/") {
		return "", fault.New(fault.Invalid, "path %q starts with a slash; write it relative to the repository's root", p)
	}
	c := path.Clean(p)
	if c == ".." || strings.HasPrefix(c, "../") {
		return "", fault.New(fault.Invalid, "path %q leaves the repository", p)
	}
	if c == "." {
		return "", nil
	}
	return c, nil
}

// Covers reports whether p is parent or lies below it; both in canonical form.
func Covers(parent, p string) bool {
	return parent == "" || parent == p || strings.HasPrefix(p, parent+"/")
}

// CoveredBy reports whether p is, or lies below, one of parents.
func CoveredBy(parents []string, p string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool { return Covers(parent, p) })
}

// describe is for error messages about a path.
func describe(p string) string {
	if p == "" {
		return "the whole tree"
	}
	return fmt.Sprintf("path %q", p)
}
