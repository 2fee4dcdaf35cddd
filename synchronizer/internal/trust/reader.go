package trust

import (
	"context"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// maxRemembered bounds the entries of trees that one verification keeps.
const maxRemembered = 1 << 18

// reader reads objects and hashes them again, so that a verdict rests on
// nothing but ids that were signed. It keeps trees, because the trees of one
// commit are read again for the next.
type reader struct {
	trees   gitobject.TreeReader
	blobs   gitobject.BlobReader
	known   map[gitobject.ID]gitobject.Tree
	entries int
}

func newReader(trees gitobject.TreeReader, blobs gitobject.BlobReader) *reader {
	return &reader{trees: trees, blobs: blobs, known: map[gitobject.ID]gitobject.Tree{}}
}

// Tree reads a tree.
func (r *reader) Tree(ctx context.Context, id gitobject.ID) (gitobject.Tree, error) {
	if tree, found := r.known[id]; found {
		return tree, nil
	}
	tree, err := r.trees.Tree(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := gitobject.Check(id, gitobject.TypeTree, tree.Encode()); err != nil {
		return nil, err
	}
	if r.entries += len(tree); r.entries > maxRemembered {
		clear(r.known)
		r.entries = len(tree)
	}
	r.known[id] = tree
	return tree, nil
}

// Blob reads a blob.
func (r *reader) Blob(ctx context.Context, id gitobject.ID) ([]byte, error) {
	content, err := r.blobs.Blob(ctx, id)
	if err != nil {
		return nil, err
	}
	return content, gitobject.Check(id, gitobject.TypeBlob, content)
}
