package trust

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/gitobject/gitobjecttest"
)

// failer is what testing.TB and rapid.T share.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// change is what one commit of a test's history does.
type change struct {
	by      string // who signs; empty: nobody
	set     map[string]string
	entries map[string]gitobject.Entry
	remove  []string
	message string        // "$2" stands for the id of the commit of changes[2]
	parents []int         // indices of changes, -1 is the base; nil: the change before
	made    time.Duration // after midnight; zero: in order
	seen    time.Time
}

// history is a base and commits on it.
type history struct {
	store *gitobjecttest.Store
	base  Step
	steps []Step
}

var midnight = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

const manifest = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  template:
    spec:
      containers:
      - name: web
        image: ghcr.io/acme/web:1.0.0
        ports: [{containerPort: 80}]
`

// version is the manifest with another tag.
func version(tag string) string { return strings.Replace(manifest, ":1.0.0", ":"+tag, 1) }

func baseFiles() map[string]string {
	return map[string]string{
		"apps/web/deployment.yaml": manifest,
		"apps/api/deployment.yaml": strings.ReplaceAll(manifest, "web", "api"),
		"apps/web/config.yaml":     "kind: ConfigMap\ndata:\n  image: ghcr.io/acme/web:1.0.0\n",
		"docs/README.md":           "hello\n",
	}
}

// newHistory commits the changes one after the other.
func newHistory(a gitobject.Algorithm, changes []change) *history {
	h := &history{store: gitobjecttest.NewStore(a)}
	leaves := []map[string]gitobject.Entry{{}}
	for path, content := range baseFiles() {
		leaves[0][path] = h.file(content)
	}
	h.base = h.commit(&gitobject.Commit{Tree: h.store.PutEntries(leaves[0]), Message: "base\n"}, change{by: "ann"}, 0)
	for i, c := range changes {
		parents := c.parents
		if parents == nil {
			parents = []int{i - 1}
		}
		commit := &gitobject.Commit{Message: h.expand(c.message)}
		for _, p := range parents {
			commit.Parents = append(commit.Parents, h.at(p).ID)
		}
		now := maps.Clone(leaves[parents[0]+1])
		for path, content := range c.set {
			now[path] = h.file(content)
		}
		maps.Copy(now, c.entries)
		for _, path := range c.remove {
			delete(now, path)
		}
		leaves = append(leaves, now)
		commit.Tree = h.store.PutEntries(now)
		h.steps = append(h.steps, h.commit(commit, c, i+1))
	}
	return h
}

func (h *history) file(content string) gitobject.Entry {
	return gitobject.Entry{Mode: gitobject.ModeFile, ID: h.store.Put(gitobject.TypeBlob, []byte(content))}
}

func (h *history) at(i int) Step {
	if i < 0 {
		return h.base
	}
	return h.steps[i]
}

func (h *history) commit(c *gitobject.Commit, spec change, number int) Step {
	made := spec.made
	if made == 0 {
		made = time.Duration(number) * time.Minute
	}
	who := gitobject.Person{Name: "Someone", Email: "someone@example.com", When: midnight.Add(made)}
	c.Author, c.Committer = who, who
	if spec.by != "" {
		gitobjecttest.NewKey(spec.by).SignCommit(c)
	}
	raw := c.Encode()
	return Step{ID: h.store.Put(gitobject.TypeCommit, raw), Raw: raw, Seen: spec.seen}
}

// tag makes an annotated tag on the last commit.
func (h *history) tag(by, message string, made time.Duration, target Step) Step {
	t := &gitobject.Tag{
		Object: target.ID, Type: gitobject.TypeCommit, Name: "v1", Message: h.expand(message),
		Tagger: gitobject.Person{Name: "Someone", Email: "someone@example.com", When: midnight.Add(made)},
	}
	if by != "" {
		gitobjecttest.NewKey(by).SignTag(t)
	}
	raw := t.Encode()
	return Step{ID: h.store.Put(gitobject.TypeTag, raw), Raw: raw}
}

func (h *history) expand(message string) string {
	for i, s := range h.steps {
		message = strings.ReplaceAll(message, fmt.Sprintf("$%d.", i), s.ID.String())
	}
	return message + "\n"
}

// request asks for the whole history, from its base.
func (h *history) request(p *Policy) Request {
	return Request{Policy: p, Paths: []string{"apps"}, Held: h.base, Steps: h.steps, Trees: h.store, Blobs: h.store}
}

// index is where a commit stands: -1 is the base, -2 nowhere.
func (h *history) index(id gitobject.ID) int {
	for i, s := range h.steps {
		if s.ID == id {
			return i
		}
	}
	if id == h.base.ID {
		return -1
	}
	return -2
}

// The cast: ann may change everything and ben the web; renovate brings other
// versions, bot anything of acme; oldie has retired, eve was found out.
func cast() Config {
	keys := func(name string) []Keys { return []Keys{{Key: gitobjecttest.NewKey(name).Authorized()}} }
	retired, revoked := keys("oldie"), keys("eve")
	retired[0].From, retired[0].Until = midnight, midnight.Add(time.Hour)
	revoked[0].Revoked = true
	return Config{
		Mode: Signed,
		Humans: []Principal{
			{Name: "ann", Keys: keys("ann")},
			{Name: "ben", Keys: keys("ben"), Paths: []string{"apps/web"}},
			{Name: "oldie", Keys: retired},
			{Name: "eve", Keys: revoked},
		},
		Automations: []Principal{
			{Name: "renovate", Keys: keys("renovate")},
			{
				Name: "bot", Keys: keys("bot"), Paths: []string{"apps"},
				Images: []ImageRule{{Repository: "ghcr.io/acme/*"}, {Path: "apps/web", Repository: "nginx"}},
			},
		},
	}
}

func mustPolicy(t failer, c Config) *Policy {
	t.Helper()
	p, err := NewPolicy(c)
	if err != nil {
		t.Fatalf("NewPolicy(...): %v", err)
	}
	return p
}
