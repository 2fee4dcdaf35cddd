package gitobject

import (
	"context"
	"fmt"
	"strings"
)

// Change is a file that differs between two trees. A zero Entry means that the
// file is absent on that side. A symbolic link and a gitlink are files here.
type Change struct {
	Path string
	From Entry
	To   Entry
}

// Diff calls visit for every file that differs between the trees from and to,
// in the order of paths. A zero id is an empty tree. With paths in under only
// what lies at or below one of them is looked at. Trees with equal ids are
// never read. An error of visit ends the walk and is returned as it is.
//
//nolint:revive // two trees, a scope and a visitor are what a diff is
func Diff(ctx context.Context, trees TreeReader, from, to ID, under []string, visit func(Change) error) error {
	for _, path := range under {
		if _, err := splitPath(path); err != nil {
			return err
		}
	}
	d := differ{trees: trees, visit: visit}
	scope := newScope(under)
	return d.trees2(ctx, pair{from: from, to: to}, scope)
}

type differ struct {
	trees TreeReader
	visit func(Change) error
}

// pair is one directory on both sides.
type pair struct {
	path     string
	depth    int
	from, to ID
}

func (d *differ) trees2(ctx context.Context, at pair, within scope) error {
	if at.from == at.to {
		return nil
	}
	if at.depth > MaxDepth {
		return malformed("directory %q is deeper than %d", clip(at.path), MaxDepth)
	}
	from, err := d.read(ctx, at.path, at.from)
	if err != nil {
		return err
	}
	to, err := d.read(ctx, at.path, at.to)
	if err != nil {
		return err
	}
	for len(from) > 0 || len(to) > 0 {
		var a, b Entry
		a, b, from, to = next(from, to)
		if err := d.entries(ctx, at, within, a, b); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) read(ctx context.Context, path string, id ID) (Tree, error) {
	if id.IsZero() {
		return nil, nil
	}
	tree, err := d.trees.Tree(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read directory %q: %w", path, err)
	}
	return tree, nil
}

// next takes the first entry of either tree, or of both when they are the same
// name and kind.
func next(from, to Tree) (a, b Entry, restFrom, restTo Tree) {
	var order int
	switch {
	case len(from) == 0:
		order = 1
	case len(to) == 0:
		order = -1
	default:
		order = from[0].compare(to[0])
	}
	if order <= 0 {
		a, from = from[0], from[1:]
	}
	if order >= 0 {
		b, to = to[0], to[1:]
	}
	return a, b, from, to
}

// entries compares two entries of one name and kind, one of which may be
// absent.
func (d *differ) entries(ctx context.Context, at pair, within scope, a, b Entry) error {
	if a.ID == b.ID && a.Mode == b.Mode {
		return nil
	}
	name := a.Name
	if a.IsZero() {
		name = b.Name
	}
	below, whole := within.enter(name)
	if a.Mode.IsDir() || b.Mode.IsDir() {
		if !whole && len(below) == 0 {
			return nil
		}
		child := pair{path: join(at.path, name), depth: at.depth + 1, from: a.ID, to: b.ID}
		return d.trees2(ctx, child, below)
	}
	if !whole {
		return nil
	}
	return d.visit(Change{Path: join(at.path, name), From: a, To: b})
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// scope is what is left of the wanted paths below a directory. The empty path
// in it stands for everything.
type scope []string

func newScope(under []string) scope {
	if len(under) == 0 {
		return scope{""}
	}
	s := make(scope, 0, len(under))
	for _, path := range under {
		if path == "." {
			path = ""
		}
		s = append(s, path)
	}
	return s
}

// enter is the scope below name, and whether name itself is wanted whole.
func (s scope) enter(name string) (below scope, whole bool) {
	for _, path := range s {
		if path == "" {
			return scope{""}, true
		}
		first, rest, _ := strings.Cut(path, "/")
		if first != name {
			continue
		}
		if rest == "" {
			return scope{""}, true
		}
		below = append(below, rest)
	}
	return below, false
}
