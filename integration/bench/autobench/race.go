package autobench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-cd/tandem/integration/bench/measure"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
)

const (
	// raceTimeout bounds the wait for one update while others push, and for their next push.
	raceTimeout = 5 * time.Minute
	// ownRef is where a writer keeps the commit that it pushes.
	ownRef = "refs/heads/mine"
)

// Race is a branch that others push to all the time.
type Race struct {
	Writers int `json:"writers"`
	// Updates are the images that were pushed, and Landed those of them whose commit is on the branch; Duplicates are
	// commits that write again what one before wrote.
	Updates    int `json:"updates"`
	Landed     int `json:"landed"`
	Duplicates int `json:"duplicates"`
	// Foreign are the commits of the others whose push was taken, Lost those of them that the branch does not have in the
	// end, and Refused the pushes that came too late.
	Foreign int `json:"foreign"`
	Lost    int `json:"lost"`
	Refused int `json:"foreign_refused"`
	// PerSecond is how many pushes of the others were taken in a second.
	PerSecond float64 `json:"foreign_per_s"`
	// OurRefused are the automator's pushes that came too late.
	OurRefused int `json:"our_refused"`
	// P50 and P99 are from the registry's acknowledgement of an image to the moment the branch has the commit, in seconds.
	P50 float64 `json:"p50_s"`
	P99 float64 `json:"p99_s"`
}

// race pushes images, one when the one before was committed, while others push to the same branch.
func (b *bench) race(ctx context.Context, w *world) error {
	o := b.opts
	b.say("Race: %d writers beside the automator, %d images.", o.Writers, o.Updates)
	if err := w.deployShop(ctx, nil); err != nil {
		return err
	}
	if err := w.configure(ctx, settings{}); err != nil {
		return err
	}
	if err := w.start(ctx); err != nil {
		return err
	}
	w.notify()
	crowd, err := w.newCrowd(ctx)
	if err != nil {
		return err
	}
	r := &Race{Writers: o.Writers, Updates: o.Updates}
	moved := w.hintPushes()
	began := time.Now()
	var took []time.Duration
	err = w.profiled(ctx, RacePart, func(ctx context.Context) error {
		return crowd.during(ctx, func(ctx context.Context) (err error) {
			took, err = w.updates(ctx, crowd, moved)
			return err
		})
	})
	if err != nil {
		return err
	}
	r.PerSecond = measure.Tenth(float64(len(crowd.taken)) / time.Since(began).Seconds())
	r.P50, r.P99 = measure.Seconds(measure.Percentile(took, 50)), measure.Seconds(measure.Percentile(took, 99))
	lost, err := w.metric(ctx, `tandem_automator_update_pushes_total{branch="main",repository="`+repository+`",result="lost"}`)
	if err != nil {
		return err
	}
	history, err := w.git.Log(ctx, repository, mainRef)
	if err != nil {
		return err
	}
	r.OurRefused, r.Refused = int(lost), int(crowd.refused.Load())
	r.judge(history, crowd.taken)
	b.report.Race = r
	b.say("  %d of %d landed, %d twice; %d of %d foreign commits lost; p50 %.2f s, p99 %.2f s; %.1f foreign pushes a second",
		r.Landed, r.Updates, r.Duplicates, r.Lost, r.Foreign, r.P50, r.P99, r.PerSecond)
	return nil
}

// hintPushes has the Git host call its webhook after every push, and tells of them; of several that nobody has heard of yet
// it tells once.
func (w *world) hintPushes() <-chan struct{} {
	moved := make(chan struct{}, 1)
	w.git.AfterPush(func(ctx context.Context, _ string) error {
		_ = w.hint(ctx) // who does not hear it looks by himself
		select {
		case moved <- struct{}{}:
		default:
		}
		return nil
	})
	return moved
}

// updates pushes images and waits until the branch has each. In between somebody else's push has to be taken, so that all
// have something to race for, however slow the machine is.
func (w *world) updates(ctx context.Context, c *crowd, moved <-chan struct{}) ([]time.Duration, error) {
	var took []time.Duration
	for i := 1; i <= w.opts.Updates; i++ {
		before := c.count()
		if err := until(ctx, raceTimeout, "a push of the others", func(context.Context) (bool, error) { return c.count() > before, nil }); err != nil {
			return nil, err
		}
		tag := fmt.Sprintf("1.%d.0", i)
		pushed, err := w.registry.Push(ctx, shop, tag, registry.Image{})
		if err != nil {
			return nil, err
		}
		if err := w.landed(ctx, tag, moved); err != nil {
			return nil, fmt.Errorf("commit of %s: %w", tag, err)
		}
		took = append(took, time.Since(pushed.At))
	}
	return took, nil
}

// landed waits until the branch has a tag.
func (w *world) landed(ctx context.Context, tag string, moved <-chan struct{}) error {
	ctx, cancel := context.WithTimeoutCause(ctx, raceTimeout, errNotInTime)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-moved:
		}
		content, err := w.git.File(ctx, repository, mainRef, shopFile)
		if err != nil || tagIn(content) == tag {
			return err
		}
	}
}

var imageLine = regexp.MustCompile(`(?m)^ *image: \S+:([^:@\s]+)@sha256:`)

// tagIn is the tag that a manifest has.
func tagIn(content string) string {
	if found := imageLine.FindStringSubmatch(content); found != nil {
		return found[1]
	}
	return ""
}

var imageTrailer = regexp.MustCompile(`(?m)^Tandem-Image: shop=\S+:([^:@\s]+)@sha256:`)

// judge counts what the branch has in the end.
func (r *Race) judge(history []gitserver.Commit, taken []string) {
	there, landed := map[string]bool{}, map[string]int{}
	for _, commit := range history {
		there[commit.ID] = true
		if commit.Email != robotEmail {
			continue
		}
		for _, found := range imageTrailer.FindAllStringSubmatch(commit.Message, -1) {
			landed[found[1]]++
		}
	}
	r.Landed, r.Foreign = len(landed), len(taken)
	for _, times := range landed {
		r.Duplicates += times - 1
	}
	for _, id := range taken {
		if !there[id] {
			r.Lost++
		}
	}
}

// crowd are the others.
type crowd struct {
	writers []*writer
	pause   time.Duration
	refused atomic.Int64

	mu    sync.Mutex
	taken []string // commits
}

// count is how many pushes of the others were taken.
func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.taken)
}

// writer commits to a file of its own, as somebody with git does.
type writer struct {
	*clone

	crowd *crowd
	path  string
	made  int
}

func (w *world) newCrowd(ctx context.Context) (*crowd, error) {
	c := &crowd{pause: w.opts.Pause}
	for i := range w.opts.Writers {
		name := fmt.Sprintf("writer-%02d", i)
		one, err := newClone(ctx, w.file("writers", name), name, w.git.URL(repository))
		if err != nil {
			return nil, err
		}
		c.writers = append(c.writers, &writer{clone: one, crowd: c, path: "notes/" + name + ".txt"})
	}
	return c, nil
}

var errOver = errors.New("it is over")

// during has everybody push while something else happens, and lets all finish the push that is under way.
func (c *crowd) during(ctx context.Context, what func(context.Context) error) error {
	over := make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	for _, one := range c.writers {
		group.Go(func() error {
			if err := one.run(ctx, over); !errors.Is(err, errOver) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(over)
		return what(ctx)
	})
	return group.Wait()
}

func (w *writer) run(ctx context.Context, over <-chan struct{}) error {
	for {
		if err := w.push(ctx, over); err != nil {
			return err
		}
		select {
		case <-over:
			return errOver
		case <-time.After(w.crowd.pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// push commits on what the remote has, until that is taken.
func (w *writer) push(ctx context.Context, over <-chan struct{}) error {
	w.made++
	for {
		commit, err := w.commit(ctx)
		if err != nil {
			return err
		}
		_, err = w.git(ctx, "push", "--quiet", "origin", commit+":"+mainRef)
		if err == nil {
			w.crowd.mu.Lock()
			defer w.crowd.mu.Unlock()
			w.crowd.taken = append(w.crowd.taken, commit)
			return nil
		}
		if !tooLate.MatchString(err.Error()) {
			return err
		}
		w.crowd.refused.Add(1)
		select {
		case <-over:
			return errOver
		default:
		}
	}
}

// tooLate is what git says of a branch that moved meanwhile.
var tooLate = regexp.MustCompile(`fetch first|non-fast-forward|stale info|failed to update ref|cannot lock ref|incorrect old value`)

// commit makes a commit on the newest one of the remote, without a work tree.
func (w *writer) commit(ctx context.Context) (string, error) {
	if _, err := w.git(ctx, "fetch", "--quiet", "origin", mainRef); err != nil {
		return "", err
	}
	var in strings.Builder
	text := fmt.Sprintf("%s: %d\n", w.name, w.made)
	fmt.Fprintf(&in, "commit %s\ncommitter %s <%s@example.com> now\ndata %d\n%s", ownRef, w.name, w.name, len(text), text)
	fmt.Fprintf(&in, "from FETCH_HEAD\nM 100644 inline %s\ndata %d\n%s\n", w.path, len(text), text)
	if _, err := w.gitWith(ctx, strings.NewReader(in.String()), "fast-import", "--quiet", "--force", "--date-format=now"); err != nil {
		return "", err
	}
	id, err := os.ReadFile(filepath.Join(w.dir, filepath.FromSlash(ownRef)))
	return strings.TrimSpace(string(id)), err
}
