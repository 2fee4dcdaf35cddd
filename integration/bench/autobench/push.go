package autobench

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
)

const (
	// shop is the image repository of the parts with one, and bare the Git repository of the baseline.
	shop = "acme/shop"
	bare = "bare"
	// firstTag is what Git has at first.
	firstTag = "1.0.0"
	// stepTimeout bounds the wait for one commit.
	stepTimeout = time.Minute
)

// Push is the way from a registry's webhook to a commit on the Git server, in milliseconds.
type Push struct {
	// P50 and P99 are from the registry's acknowledgement of the image, to which its webhook goes out, to the moment the
	// branch has the commit.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	// BareP50 and BareP99 are a `git push` of the same commit to another repository of the same server, until its branch
	// has it.
	BareP50 float64 `json:"bare_push_p50"`
	BareP99 float64 `json:"bare_push_p99"`
	// Difference is that of the medians.
	Difference float64 `json:"p50_minus_bare"`
	Samples    int     `json:"samples"`
	// Latency is what every answer of the registry took longer.
	Latency float64 `json:"registry_latency"`
}

// push measures pushes of images one after the other, and the bare push of each commit after it.
func (b *bench) push(ctx context.Context, w *world) error {
	b.say("Push to commit: %d images, each beside a bare git push.", b.opts.Pushes)
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
	r, err := w.newRival(ctx)
	if err != nil {
		return err
	}
	moved := w.watchPushes()
	var tandem, baseline []time.Duration
	for i := 1; i <= b.opts.Pushes; i++ {
		took, err := w.bump(ctx, i, moved)
		if err != nil {
			return err
		}
		tandem = append(tandem, took)
		if took, err = r.push(ctx, moved); err != nil {
			return fmt.Errorf("bare push: %w", err)
		}
		baseline = append(baseline, took)
	}
	b.report.Push = summary(tandem, baseline)
	b.report.Push.Latency = measure.Milliseconds(b.opts.Latency)
	b.say("  p50 %.1f ms, p99 %.1f ms; bare push p50 %.1f ms", b.report.Push.P50, b.report.Push.P99, b.report.Push.BareP50)
	return nil
}

func summary(tandem, baseline []time.Duration) *Push {
	ours, theirs := measure.Of(tandem), measure.Of(baseline)
	return &Push{
		P50: ours.P50, P99: ours.P99, BareP50: theirs.P50, BareP99: theirs.P99,
		Difference: measure.Milliseconds(measure.Percentile(tandem, 50) - measure.Percentile(baseline, 50)), Samples: len(tandem),
	}
}

// deployShop pushes the first image and commits an application that runs it, with more files beside.
func (w *world) deployShop(ctx context.Context, more map[string]string) error {
	pushed, err := w.registry.Push(ctx, shop, firstTag, registry.Image{})
	if err != nil {
		return err
	}
	files := map[string]string{
		".tandem/shop.yaml": w.pipeline("shop", "env", fmt.Sprintf("- {name: shop, repository: %s, policy: {semver: \">=1.0.0\"}}\n", w.image(shop))),
		shopFile:            deployment("shop", w.image(shop)+":"+firstTag+"@"+pushed.Digest),
	}
	maps.Copy(files, more)
	_, err = w.git.Commit(ctx, repository, gitserver.Change{Files: files, Message: "Begin"})
	return err
}

// shopFile is the manifest of the application.
const shopFile = "env/shop.yaml"

// moves says when a repository took a push.
type moves map[string]chan time.Time

// watchPushes tells of pushes that the Git server takes from now on.
func (w *world) watchPushes() moves {
	moved := moves{repository: make(chan time.Time, 64), bare: make(chan time.Time, 64)}
	w.git.AfterPush(func(_ context.Context, repo string) error {
		moved[repo] <- time.Now()
		return nil
	})
	return moved
}

// bump pushes the i-th image and waits for its commit.
func (w *world) bump(ctx context.Context, i int, moved moves) (time.Duration, error) {
	tag := fmt.Sprintf("1.%d.0", i)
	pushed, err := w.registry.Push(ctx, shop, tag, registry.Image{})
	if err != nil {
		return 0, err
	}
	at, err := receive(ctx, moved[repository], stepTimeout, "commit of "+tag)
	return at.Sub(pushed.At), err
}

// rival pushes what the automator has pushed with git itself, to a repository that had the same before.
type rival struct {
	*clone

	world *world
}

func (w *world) newRival(ctx context.Context) (*rival, error) {
	if err := w.git.Create(ctx, bare); err != nil {
		return nil, err
	}
	c, err := newClone(ctx, w.file("rival"), "rival", w.git.URL(repository))
	if err != nil {
		return nil, err
	}
	_, err = c.git(ctx, "push", "--quiet", w.git.URL(bare), "HEAD:"+mainRef)
	return &rival{clone: c, world: w}, err
}

// push fetches the newest commit, and measures how long it takes to push it.
func (r *rival) push(ctx context.Context, moved moves) (time.Duration, error) {
	if _, err := r.git(ctx, "fetch", "--quiet", "origin", mainRef); err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := r.git(ctx, "push", "--quiet", r.world.git.URL(bare), "FETCH_HEAD:"+mainRef); err != nil {
		return 0, err
	}
	at, err := receive(ctx, moved[bare], stepTimeout, "bare push")
	return at.Sub(began), err
}
