package relay

import (
	"context"
	"fmt"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// Limits of one transfer.
const (
	// MaxChain bounds the commits of one transfer.
	MaxChain = 10_000
	// MaxTransfer bounds the object content of one transfer, in bytes.
	MaxTransfer = 64 << 20
)

// piece is one object of a transfer.
type piece struct {
	kind gitobject.Type
	id   gitobject.ID
	// content is the object; nil for a blob and a tree, which are read when they are sent, and for a delta: many clusters
	// may be sent the same at once, and slowly.
	content []byte
	// base and delta tell a tree by what changed in another.
	base  gitobject.ID
	delta *gitobject.Delta
	size  int64
}

// transfer is what one Fetch sends, in order.
type transfer struct {
	pieces  []piece
	bytes   int64
	commits int
	until   gitobject.ID
}

// held is about what the transfer takes in memory until it is sent, in bytes.
func (t *transfer) held() int64 {
	const perPiece = 200
	total := int64(len(t.pieces)) * perPiece
	for _, p := range t.pieces {
		if p.content != nil || p.delta != nil {
			total += p.size
		}
	}
	return min(total, maxHeld)
}

// collector finds the objects of a transfer.
type collector struct {
	repo  Repository
	paths []string
	sent  map[gitobject.ID]bool
	out   transfer
}

// collect returns the transfer that brings paths from held (zero: from nothing) along chain to its last commit, or to
// the last one that stays inside the limits.
func collect(ctx context.Context, repo Repository, paths []string, held gitobject.ID, chain []gitobject.ID) (*transfer, error) {
	c := &collector{repo: repo, paths: paths, sent: map[gitobject.ID]bool{}}
	root, err := c.rootOf(ctx, held)
	if err != nil {
		return nil, err
	}
	for i, id := range chain {
		before := c.out
		root, err = c.step(ctx, id, root)
		if err != nil {
			return nil, err
		}
		if c.out.bytes <= MaxTransfer && i < MaxChain {
			c.out.until = id
			continue
		}
		if i == 0 {
			return nil, fault.New(fault.Invalid, "commit %s alone brings %d bytes under the followed paths, more than %d; narrow the paths or take large files out of Git", id, c.out.bytes, MaxTransfer)
		}
		c.out = before
		break
	}
	return &c.out, nil
}

func (c *collector) rootOf(ctx context.Context, commit gitobject.ID) (gitobject.ID, error) {
	if commit.IsZero() {
		return gitobject.ID{}, nil
	}
	decoded, err := c.repo.Commit(ctx, commit)
	if err != nil {
		return gitobject.ID{}, fmt.Errorf("read commit %s: %w", commit, err)
	}
	return decoded.Tree, nil
}

// step adds a commit and what leads from its predecessor's tree to its own. Even a commit that touches no followed path
// brings the trees on the way to them: they are the proof that it touches none.
func (c *collector) step(ctx context.Context, id, from gitobject.ID) (root gitobject.ID, err error) {
	decoded, err := c.repo.Commit(ctx, id)
	if err != nil {
		return root, fmt.Errorf("read commit %s: %w", id, err)
	}
	raw := decoded.Encode()
	c.add(piece{kind: gitobject.TypeCommit, id: id, content: raw, size: int64(len(raw))})
	c.out.commits++
	return decoded.Tree, c.tree(ctx, "", from, decoded.Tree)
}

func (c *collector) add(p piece) {
	c.out.pieces = append(c.out.pieces, p)
	c.out.bytes += p.size
}

// tree adds the tree at a path as it differs from another (zero: none), and what is needed below it.
func (c *collector) tree(ctx context.Context, path string, from, to gitobject.ID) error {
	if from == to {
		return nil
	}
	var base gitobject.Tree
	if !from.IsZero() {
		var err error
		if base, err = c.repo.Tree(ctx, from); err != nil {
			return fmt.Errorf("read tree %s: %w", from, err)
		}
	}
	tree, err := c.repo.Tree(ctx, to)
	if err != nil {
		return fmt.Errorf("read tree %s: %w", to, err)
	}
	c.addTree(to, from, base, tree)
	for _, entry := range tree {
		if err := c.entry(ctx, child(path, entry.Name), base, entry); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) addTree(id, from gitobject.ID, base, tree gitobject.Tree) {
	if c.sent[id] {
		return
	}
	c.sent[id] = true
	if from.IsZero() {
		c.add(piece{kind: gitobject.TypeTree, id: id, size: treeSize(tree)})
		return
	}
	delta := gitobject.TreeDelta(base, tree)
	c.add(piece{kind: gitobject.TypeTree, id: id, base: from, delta: &delta, size: deltaSize(delta)})
}

// entry adds what stands behind one entry of a tree when it differs from the base's and a followed path needs it.
func (c *collector) entry(ctx context.Context, path string, base gitobject.Tree, entry gitobject.Entry) error {
	inside := revision.CoveredBy(c.paths, path)
	if !inside && !leadsTo(path, c.paths) {
		return nil
	}
	old, had := base.Lookup(entry.Name)
	if had && old.ID == entry.ID {
		return nil
	}
	if entry.Mode.IsDir() {
		if !old.Mode.IsDir() {
			old.ID = gitobject.ID{}
		}
		return c.tree(ctx, path, old.ID, entry.ID)
	}
	if !inside || entry.Mode == gitobject.ModeGitlink || c.sent[entry.ID] {
		return nil
	}
	size, err := c.repo.BlobSize(ctx, entry.ID)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	c.sent[entry.ID] = true
	c.add(piece{kind: gitobject.TypeBlob, id: entry.ID, size: size})
	return nil
}

func child(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// leadsTo reports whether a followed path lies below a folder.
func leadsTo(folder string, paths []string) bool {
	for _, p := range paths {
		if revision.Covers(folder, p) {
			return true
		}
	}
	return false
}

// treeSize returns what a tree takes encoded, in bytes.
func treeSize(tree gitobject.Tree) int64 {
	const around = 8 // the mode, a space and a zero
	var size int64
	for _, e := range tree {
		size += around + int64(len(e.Name)) + int64(len(e.ID.Bytes()))
		if e.Mode.IsDir() {
			size-- // its mode has a digit less
		}
	}
	return size
}

// deltaSize estimates what a delta takes on the wire, in bytes.
func deltaSize(d gitobject.Delta) int64 {
	const perEntry = 48 // mode, id and framing
	var size int64
	for _, e := range d.Set {
		size += perEntry + int64(len(e.Name))
	}
	for _, name := range d.Remove {
		size += int64(len(name)) + 2
	}
	return size
}
