package relay

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/run"
)

// maxContents bounds the content ids that are remembered.
const maxContents = 4096

// contents remembers content ids, so that a thousand clusters which follow the same paths cost one look at the trees.
type contents struct {
	mu    sync.Mutex
	known map[contentKey]revision.ContentID
}

type contentKey struct {
	commit gitobject.ID
	paths  string
}

func (c *contents) at(ctx context.Context, repo Repository, commit gitobject.ID, paths []string) (revision.ContentID, error) {
	key := contentKey{commit: commit, paths: strings.Join(paths, "\x00")}
	c.mu.Lock()
	id, ok := c.known[key]
	c.mu.Unlock()
	if ok {
		return id, nil
	}
	var err error
	run.Elsewhere(func() { id, err = ContentAt(ctx, repo, commit, paths) })
	if err != nil {
		return id, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxContents {
		c.known = map[contentKey]revision.ContentID{}
	}
	c.known[key] = id
	return id, nil
}

// ContentAt returns the content id of paths at a commit.
func ContentAt(ctx context.Context, repo Repository, commit gitobject.ID, paths []string) (revision.ContentID, error) {
	decoded, err := repo.Commit(ctx, commit)
	if err != nil {
		return revision.ContentID{}, fmt.Errorf("read commit %s: %w", commit, err)
	}
	return revision.ContentIDOf(ctx, repo, decoded.Tree, paths)
}
