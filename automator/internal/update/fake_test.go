package update_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/revision"
)

// images is a registry as the scan knows it.
type images struct {
	mu       sync.Mutex
	tags     map[string]map[string]time.Time
	problems map[string]string
	missing  map[string]bool       // digests that cannot be had, by "repository:tag"
	known    map[string]policy.Tag // what else is known, likewise
	asked    int
}

func newImages() *images {
	return &images{tags: map[string]map[string]time.Time{}, problems: map[string]string{}, missing: map[string]bool{}, known: map[string]policy.Tag{}}
}

func (i *images) push(repository string, tags ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := maps.Clone(i.tags[repository])
	if all == nil {
		all = map[string]time.Time{}
	}
	for _, tag := range tags {
		all[tag] = time.Now()
	}
	i.tags[repository] = all
}

// lose makes the digest of a tag unknown to the registry.
func (i *images) lose(repository, tag string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.missing[repository+":"+tag] = true
}

func (i *images) find(repository, tag string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.missing, repository+":"+tag)
}

func (i *images) Tags(repository string) update.Seen {
	i.mu.Lock()
	defer i.mu.Unlock()
	tags, looked := i.tags[repository]
	seen := update.Seen{Looked: looked, Problem: i.problems[repository]}
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		tag := i.known[repository+":"+name]
		tag.Name = name
		if tag.Pushed.IsZero() {
			tag.Pushed = tags[name]
		}
		seen.Tags = append(seen.Tags, tag)
	}
	return seen
}

// Inspect looks at nothing: the tests say what is known of an image.
func (i *images) Inspect(string, []string) {}

func (i *images) Digest(_ context.Context, repository, tag string) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	if i.missing[repository+":"+tag] {
		return "", fault.New(fault.NotFound, "digest of %s:%s: it is not in the registry", repository, tag)
	}
	return digest(repository, tag), nil
}

// digest is what a tag of a repository points to, in all of these tests.
func digest(repository, tag string) string {
	hex := fmt.Sprintf("%x", repository+":"+tag)
	return "sha256:" + (hex + strings.Repeat("0", 64))[:64]
}

// evidence is what clusters report.
type evidence struct {
	mu      sync.Mutex
	reports map[string]update.Report // by cluster and path
}

func (e *evidence) At(cluster string, source revision.Source, path string) update.Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	if source.Ref != branch {
		path += " on " + source.Ref
	}
	return e.reports[cluster+" "+path]
}

func (e *evidence) report(cluster, path string, r update.Report) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reports == nil {
		e.reports = map[string]update.Report{}
	}
	e.reports[cluster+" "+path] = r
}

// events records what happened.
type events struct {
	mu   sync.Mutex
	full bool // takes nothing
	all  []update.Event
	byID map[[32]byte]bool
}

func (e *events) Record(_ context.Context, events []update.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.full {
		return errBoom
	}
	if e.byID == nil {
		e.byID = map[[32]byte]bool{}
	}
	for _, event := range events {
		if !e.byID[event.ID] {
			e.byID[event.ID] = true
			e.all = append(e.all, event)
		}
	}
	return nil
}

// fill has the store take nothing, as on a full disk, or takes that back.
func (e *events) fill(full bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.full = full
}

// seen are the events of a state, in a line each.
func (e *events) seen(state update.State) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines []string
	for _, event := range e.all {
		if event.State != state {
			continue
		}
		line := strings.TrimSpace(event.App + " " + event.Environment)
		for _, image := range event.Images {
			line += " " + image.Name + ":" + image.Tag
		}
		if len(event.Images) == 0 {
			line += " " + event.Message
		}
		lines = append(lines, line)
	}
	return lines
}

var errBoom = errors.New("boom")

// pushes is a mirror whose pushes end as a test wants: each call takes the next ending, and then they are left alone.
type pushes struct {
	update.Repository

	mu      sync.Mutex
	endings []func(push func() error) error
	tried   int
}

func (p *pushes) then(endings ...func(push func() error) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endings = append(p.endings, endings...)
}

func (p *pushes) Push(ctx context.Context, updates []gitrepo.RefUpdate) error {
	p.mu.Lock()
	p.tried++
	push := func() error { return p.Repository.Push(ctx, updates) }
	if len(p.endings) == 0 {
		p.mu.Unlock()
		return push()
	}
	end := p.endings[0]
	p.endings = slices.Delete(p.endings, 0, 1)
	p.mu.Unlock()
	return end(push)
}

func (p *pushes) attempts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tried
}

func (p *pushes) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endings = nil
}
