package relay

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// memory is a Repository in memory with one branch and a linear history.
type memory struct {
	mu      sync.Mutex
	trees   map[gitobject.ID]gitobject.Tree
	blobs   map[gitobject.ID][]byte
	commits map[gitobject.ID]*gitobject.Commit
	history []gitobject.ID
}

func newMemory() *memory {
	return &memory{trees: map[gitobject.ID]gitobject.Tree{}, blobs: map[gitobject.ID][]byte{}, commits: map[gitobject.ID]*gitobject.Commit{}}
}

// commit adds a commit with exactly these files to the branch.
func (m *memory) commit(t testing.TB, files map[string]string) gitobject.ID {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &gitobject.Commit{
		Tree: m.tree(t, files), Message: fmt.Sprintf("%d", len(m.history)),
		Author: gitobject.Person{Name: "a", Email: "a@b", When: time.Unix(1, 0)}, Committer: gitobject.Person{Name: "a", Email: "a@b", When: time.Unix(1, 0)},
	}
	if n := len(m.history); n > 0 {
		c.Parents = []gitobject.ID{m.history[n-1]}
	}
	id := hash(t, gitobject.TypeCommit, c.Encode())
	m.commits[id] = c
	m.history = append(m.history, id)
	return id
}

func (m *memory) tree(t testing.TB, files map[string]string) gitobject.ID {
	t.Helper()
	folders := map[string]map[string]string{}
	var entries []gitobject.Entry
	for name, content := range files {
		if folder, rest, nested := strings.Cut(name, "/"); nested {
			if folders[folder] == nil {
				folders[folder] = map[string]string{}
			}
			folders[folder][rest] = content
			continue
		}
		id := hash(t, gitobject.TypeBlob, []byte(content))
		m.blobs[id] = []byte(content)
		entries = append(entries, gitobject.Entry{Mode: gitobject.ModeFile, Name: name, ID: id})
	}
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		entries = append(entries, gitobject.Entry{Mode: gitobject.ModeDir, Name: name, ID: m.tree(t, folders[name])})
	}
	tree, err := gitobject.NewTree(entries)
	if err != nil {
		t.Fatal(err)
	}
	id := hash(t, gitobject.TypeTree, tree.Encode())
	m.trees[id] = tree
	return id
}

func hash(t testing.TB, kind gitobject.Type, content []byte) gitobject.ID {
	t.Helper()
	id, err := gitobject.Hash(gitobject.SHA1, kind, content)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (m *memory) Tree(_ context.Context, id gitobject.ID) (gitobject.Tree, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trees[id], nil
}

func (m *memory) Blob(_ context.Context, id gitobject.ID) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.blobs[id], nil
}

func (m *memory) BlobSize(ctx context.Context, id gitobject.ID) (int64, error) {
	blob, err := m.Blob(ctx, id)
	return int64(len(blob)), err
}

func (m *memory) Commit(_ context.Context, id gitobject.ID) (*gitobject.Commit, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.commits[id]; c != nil {
		return c, nil
	}
	return nil, fault.New(fault.NotFound, "no commit %s", id)
}

func (m *memory) Tag(context.Context, gitobject.ID) (*gitobject.Tag, error) {
	return nil, fault.New(fault.NotFound, "no tags here")
}

func (m *memory) Resolve(_ context.Context, ref string) (commit, tag gitobject.ID, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ref != "refs/heads/main" || len(m.history) == 0 {
		return commit, tag, false
	}
	return m.history[len(m.history)-1], tag, true
}

func (m *memory) Chain(_ context.Context, held, want gitobject.ID) ([]gitobject.ID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to := slices.Index(m.history, held), slices.Index(m.history, want)
	if from < 0 || to < from {
		return nil, fault.New(fault.Stale, "no way from %s to %s", held, want)
	}
	return slices.Clone(m.history[from+1 : to+1]), nil
}

func (m *memory) Reachable(_ context.Context, commit gitobject.ID, patterns []string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	granted := slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, "refs/heads/main"); return ok })
	return granted && slices.Contains(m.history, commit), nil
}
