package scan_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/automator/internal/scan"
	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	api   = "one.test/acme/api"
	web   = "one.test/acme/web"
	other = "two.test/acme/api"

	interval = 5 * time.Minute
)

var errBoom = errors.New("boom")

// pauseError is a registry's wish for a pause.
type pauseError struct{ after time.Duration }

func (e pauseError) Error() string             { return "slow down" }
func (e pauseError) RetryAfter() time.Duration { return e.after }

// call is a question that the registry got.
type call struct {
	at   time.Duration // since the world began
	what string        // "list repository" or "head repository:tag"
}

// world is a registry whose content tests change, a cache in memory, and a scanner of both.
type world struct {
	t     *testing.T
	began time.Time

	mu      sync.Mutex
	images  map[string]map[string]string // repository, tag, digest
	made    map[string]time.Time         // by tag
	partial map[string]bool
	failing map[string]error         // by "list repository" and "head repository:tag"
	blocked map[string]chan struct{} // likewise: the answer, made before, comes when it is closed
	calls   []call
	changed []string
	running int
	most    int

	*scan.Scanner
	cache scan.Cache
}

// inWorld runs a test in a bubble of fake time, with a scanner that follows repositories.
func inWorld(t *testing.T, test func(*world), follow ...string) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &memory{}, scan.Config{})
		w.follow(follow...)
		w.run(func() { test(w) })
	})
}

func newWorld(t *testing.T, cache scan.Cache, cfg scan.Config) *world {
	t.Helper()
	w := &world{
		t: t, began: time.Now(), cache: cache,
		images: map[string]map[string]string{}, made: map[string]time.Time{}, partial: map[string]bool{}, failing: map[string]error{}, blocked: map[string]chan struct{}{},
	}
	for _, repository := range []string{api, web, other} {
		w.images[repository] = map[string]string{"1.0.0": "sha256:" + repository}
	}
	w.start(cfg)
	return w
}

// start makes a new scanner, as a restart does.
func (w *world) start(cfg scan.Config) {
	w.t.Helper()
	log, _ := logtest.New(w.t)
	scanner, err := scan.New(cfg, scan.Deps{Registry: w, Cache: w.cache, Log: log, Changed: func(repository string, _ time.Time) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed = append(w.changed, repository)
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Scanner = scanner
}

// run runs the scanner while it runs a test.
func (w *world) run(test func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
			w.t.Errorf("Run(...): %v", err)
		}
	})
	synctest.Wait()
	test()
	cancel()
	wg.Wait()
}

func (w *world) follow(repositories ...string) {
	var targets []scan.Target
	for _, repository := range repositories {
		targets = append(targets, scan.Target{Repository: repository})
	}
	w.Follow(targets)
}

// after lets time pass, then waits until nothing is under way.
func (w *world) after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// change changes the world.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) push(repository, tag, digest string) {
	w.change(func() { w.images[repository][tag] = digest })
}

// block holds the answer to a question back until release.
func (w *world) block(what string) (release func()) {
	ch := make(chan struct{})
	w.change(func() { w.blocked[what] = ch })
	return func() {
		w.change(func() { delete(w.blocked, what) })
		close(ch)
		synctest.Wait()
	}
}

// asked returns the questions since it was called last.
func (w *world) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var what []string
	for _, c := range w.calls {
		what = append(what, c.what)
	}
	w.calls = nil
	return what
}

// times returns when a question was asked.
func (w *world) times(what string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var at []time.Duration
	for _, c := range w.calls {
		if c.what == what {
			at = append(at, c.at)
		}
	}
	return at
}

// load returns how many questions are under way, and how many were at most.
func (w *world) load() (running, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running, w.most
}

// changes returns the announcements since it was called last.
func (w *world) changes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := w.changed
	w.changed = nil
	return changed
}

// seen returns the tags of a repository as "tag=digest", with a "-" before a vanished one.
func (w *world) seen(repository string) []string {
	w.t.Helper()
	snapshot, ok := w.Seen(repository)
	if !ok {
		w.t.Fatalf("%s is not followed", repository)
	}
	var tags []string
	for sign, known := range map[string][]policy.Tag{"": snapshot.Listed, "-": snapshot.Gone} {
		for _, tag := range known {
			tags = append(tags, sign+tag.Name+"="+tag.Digest)
		}
	}
	slices.SortFunc(tags, func(a, b string) int { return strings.Compare(strings.TrimPrefix(a, "-"), strings.TrimPrefix(b, "-")) })
	return tags
}

// Tags is the registry's list.
func (w *world) Tags(ctx context.Context, repository string) ([]string, bool, error) {
	var tags []string
	complete := false
	err := w.answer(ctx, "list "+repository, func() error {
		tags, complete = slices.Sorted(maps.Keys(w.images[repository])), !w.partial[repository]
		return nil
	})
	return tags, complete && err == nil, err
}

// Digest is the registry's answer for one tag.
func (w *world) Digest(ctx context.Context, repository, tag string) (string, error) {
	var digest string
	err := w.answer(ctx, "head "+repository+":"+tag, func() error {
		var ok bool
		if digest, ok = w.images[repository][tag]; !ok {
			return fault.New(fault.NotFound, "no such tag")
		}
		return nil
	})
	return digest, err
}

// Inspect is the registry's answer for one image.
func (w *world) Inspect(ctx context.Context, repository, tag string) (registry.Image, error) {
	var image registry.Image
	err := w.answer(ctx, "inspect "+repository+":"+tag, func() error {
		digest, ok := w.images[repository][tag]
		if !ok {
			return fault.New(fault.NotFound, "no such tag")
		}
		image = registry.Image{Digest: digest, Created: w.made[tag], Platforms: []string{"linux/amd64", "linux/arm64"}}
		return nil
	})
	return image, err
}

func (w *world) answer(ctx context.Context, what string, f func() error) error {
	w.mu.Lock()
	w.calls = append(w.calls, call{at: time.Since(w.began), what: what})
	w.running++
	w.most = max(w.most, w.running)
	err := f()
	if w.failing[what] != nil {
		err = w.failing[what]
	}
	blocked := w.blocked[what]
	w.mu.Unlock()
	if blocked != nil {
		select {
		case <-blocked:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	return err
}

// memory is a cache in memory.
type memory struct {
	mu      sync.Mutex
	fail    error
	puts    int
	batches []int // sizes of PutScans
	scans   map[string]store.Scan
	tags    map[string]map[string]store.Tag
}

func (m *memory) Tags(_ context.Context, repository string) (store.Scan, []store.Tag, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.scans[repository], slices.Collect(maps.Values(m.tags[repository])), m.fail
}

func (m *memory) PutTags(_ context.Context, repository string, s store.Scan, changed []store.Tag) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.scans == nil {
		m.scans, m.tags = map[string]store.Scan{}, map[string]map[string]store.Tag{}
	}
	if m.tags[repository] == nil {
		m.tags[repository] = map[string]store.Tag{}
	}
	m.puts++
	m.scans[repository] = s
	for _, tag := range changed {
		m.tags[repository][tag.Name] = tag
	}
	return nil
}

func (m *memory) PutScans(_ context.Context, scans map[string]store.Scan) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.scans == nil {
		m.scans, m.tags = map[string]store.Scan{}, map[string]map[string]store.Tag{}
	}
	m.batches = append(m.batches, len(scans))
	maps.Copy(m.scans, scans)
	return nil
}

// recorded returns how many looks each write recorded that found nothing.
func (m *memory) recorded() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.batches)
}

func (m *memory) broken(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// written returns how often something was written, and how many tags there are.
func (m *memory) written(repository string) (puts, tags int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.puts, len(m.tags[repository])
}

func every(d time.Duration) scan.Config { return scan.Config{Interval: config.Duration(d)} }

func numbered(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("host%d.test/acme/app%d", i%4, i))
	}
	return names
}
