package gitobject

import (
	"context"
	"fmt"
	"strings"
)

// TreeReader reads trees by id.
type TreeReader interface {
	Tree(ctx context.Context, id ID) (Tree, error)
}

// BlobReader reads blobs by id.
type BlobReader interface {
	Blob(ctx context.Context, id ID) ([]byte, error)
}

// Lookup finds path below the tree root. The path "" or "." is the root
// itself, as a directory without a name. It does not follow symbolic links. A
// zero root holds nothing but itself.
func Lookup(ctx context.Context, trees TreeReader, root ID, path string) (Entry, bool, error) {
	at := Entry{Mode: ModeDir, ID: root}
	parts, err := splitPath(path)
	if err != nil {
		return Entry{}, false, err
	}
	for _, name := range parts {
		if !at.Mode.IsDir() || at.ID.IsZero() {
			return Entry{}, false, nil
		}
		tree, err := trees.Tree(ctx, at.ID)
		if err != nil {
			return Entry{}, false, fmt.Errorf("look up %q: %w", path, err)
		}
		entry, found := tree.Lookup(name)
		if !found {
			return Entry{}, false, nil
		}
		at = entry
	}
	return at, true, nil
}

// splitPath refuses what is not a clean path below the root.
func splitPath(path string) ([]string, error) {
	if path == "" || path == "." {
		return nil, nil
	}
	parts := strings.Split(path, "/")
	if len(parts) > MaxDepth+1 {
		return nil, fmt.Errorf("path %q is deeper than %d", clip(path), MaxDepth)
	}
	for _, part := range parts {
		if part == "" || part == "." || part == ".." {
			return nil, fmt.Errorf("path %q is not a clean path below the root", clip(path))
		}
	}
	return parts, nil
}
