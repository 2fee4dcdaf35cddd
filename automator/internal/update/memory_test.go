package update_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// memory is a remote with a branch or more and a mirror of it in memory, for tests that play with time or with thousands of histories.
// The stories in story_test.go are told with the real git.
type memory struct {
	mu      sync.Mutex
	objects map[gitobject.ID]any
	files   map[gitobject.ID]map[string]string // of commits
	refs    map[string]*tips
	reads   int
	clock   int64
}

// tips are where a branch is.
type tips struct{ remote, mirror gitobject.ID }

const branch = "refs/heads/main"

func newMemory(files map[string]string) *memory {
	m := &memory{objects: map[gitobject.ID]any{}, files: map[gitobject.ID]map[string]string{}}
	first := m.commit(gitobject.ID{}, files, gitobject.Person{Name: "Ann", Email: "ann@example.com"}, "first\n")
	m.refs = map[string]*tips{branch: {remote: first}}
	return m
}

// fork makes a branch where main is.
func (m *memory) fork(ref string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refs[ref] = &tips{remote: m.refs[branch].remote}
}

// foreign commits what somebody else pushes, on top of whatever the remote has; empty content removes a file.
func (m *memory) foreign(message string, changes map[string]string) gitobject.ID {
	return m.foreignOn(branch, message, changes)
}

func (m *memory) foreignOn(ref, message string, changes map[string]string) gitobject.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.refs[ref]
	files := maps.Clone(m.files[at.remote])
	for name, content := range changes {
		files[name] = content
		if content == "" {
			delete(files, name)
		}
	}
	at.remote = m.commit(at.remote, files, gitobject.Person{Name: "Ann", Email: "ann@example.com"}, message+"\n")
	return at.remote
}

// commit stores a commit and its trees.
func (m *memory) commit(parent gitobject.ID, files map[string]string, by gitobject.Person, message string) gitobject.ID {
	m.clock++ // no two commits are the same
	c := &gitobject.Commit{Tree: m.tree(files), Author: by, Committer: by, Message: message}
	c.Extra = []gitobject.Header{{Key: "clock", Value: fmt.Sprint(m.clock)}}
	if !parent.IsZero() {
		c.Parents = []gitobject.ID{parent}
	}
	id := m.put(gitobject.TypeCommit, c.Encode(), c)
	m.files[id] = files
	return id
}

func (m *memory) tree(files map[string]string) gitobject.ID {
	var entries []gitobject.Entry
	below := map[string]map[string]string{}
	for name, content := range files {
		first, rest, isBelow := strings.Cut(name, "/")
		if !isBelow {
			blob := m.put(gitobject.TypeBlob, []byte(content), []byte(content))
			entries = append(entries, gitobject.Entry{Mode: gitobject.ModeFile, Name: first, ID: blob})
			continue
		}
		if below[first] == nil {
			below[first] = map[string]string{}
		}
		below[first][rest] = content
	}
	for name, files := range below {
		entries = append(entries, gitobject.Entry{Mode: gitobject.ModeDir, Name: name, ID: m.tree(files)})
	}
	tree, err := gitobject.NewTree(entries)
	if err != nil {
		panic(err)
	}
	return m.put(gitobject.TypeTree, tree.Encode(), tree)
}

func (m *memory) put(kind gitobject.Type, raw []byte, value any) gitobject.ID {
	id, err := gitobject.Hash(gitobject.SHA1, kind, raw)
	if err != nil {
		panic(err)
	}
	m.objects[id] = value
	return id
}

func read[T any](m *memory, id gitobject.ID) (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	value, ok := m.objects[id].(T)
	if !ok {
		return value, fault.New(fault.NotFound, "%s is not there", id)
	}
	return value, nil
}

func (m *memory) Tree(_ context.Context, id gitobject.ID) (gitobject.Tree, error) {
	return read[gitobject.Tree](m, id)
}

func (m *memory) Blobs(_ context.Context, ids []gitobject.ID, use func(i int, content []byte, err error) error) error {
	for i, id := range ids {
		content, err := read[[]byte](m, id)
		if err := use(i, content, err); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Commit(_ context.Context, id gitobject.ID) (*gitobject.Commit, error) {
	return read[*gitobject.Commit](m, id)
}

func (m *memory) Walk(_ context.Context, span gitrepo.Span) (commits []gitobject.ID, continues bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.history(span.Want)
	if at := slices.Index(all, span.Held); at >= 0 {
		return all[:at], true, nil
	}
	return all[:min(len(all), span.Limit)], false, nil
}

// history is a commit and its ancestors, newest first; it has no merges.
func (m *memory) history(id gitobject.ID) []gitobject.ID {
	var all []gitobject.ID
	for {
		all = append(all, id)
		parents := m.objects[id].(*gitobject.Commit).Parents
		if len(parents) == 0 {
			return all
		}
		id = parents[0]
	}
}

func (m *memory) Tip(ref string) (gitobject.ID, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.refs[ref]
	if at == nil {
		return gitobject.ID{}, false
	}
	return at.mirror, !at.mirror.IsZero()
}

func (m *memory) FetchRef(_ context.Context, ref string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := m.refs[ref]; at != nil {
		at.mirror = at.remote
	}
	return nil
}

func (m *memory) WriteFiles(
	_ context.Context, base gitobject.ID, changes map[string][]byte, meta gitrepo.CommitMeta,
) (gitobject.ID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	files := maps.Clone(m.files[base])
	for name, content := range changes {
		files[name] = string(content)
	}
	if maps.Equal(files, m.files[base]) {
		return gitobject.ID{}, gitrepo.ErrUnchanged
	}
	return m.commit(base, files, meta.Committer, meta.Message), nil
}

func (m *memory) Push(_ context.Context, updates []gitrepo.RefUpdate) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := updates[0]
	at := m.refs[u.Ref]
	if at == nil || u.Old != at.remote {
		return fault.New(fault.Conflict, "stale info")
	}
	at.remote, at.mirror = u.New, u.New
	return nil
}

// cut pushes, and loses the answer: the mirror does not learn of it.
func (m *memory) cut(push func() error) error {
	m.mu.Lock()
	before := m.refs[branch].mirror
	m.mu.Unlock()
	_ = push()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refs[branch].mirror = before
	return gitrepo.ErrOutcomeUnknown
}

// at is the remote's tip, its files and its history, newest first.
func (m *memory) at() (tip gitobject.ID, files map[string]string, history []*gitobject.Commit) {
	return m.on(branch)
}

func (m *memory) on(ref string) (tip gitobject.ID, files map[string]string, history []*gitobject.Commit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	tip = m.refs[ref].remote
	for _, id := range m.history(tip) {
		history = append(history, m.objects[id].(*gitobject.Commit))
	}
	return tip, m.files[tip], history
}
