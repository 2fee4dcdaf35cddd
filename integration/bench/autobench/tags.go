package autobench

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
)

const (
	// tagsInterval is how often the repository with many tags is looked at, the least that the automator takes.
	tagsInterval = 10 * time.Second
	// tagsRate is the budget of requests a second in that part, and the limit of the registry: one that is our own. With
	// the default of 50 the first scan of 50,000 tags takes half an hour.
	tagsRate = 5000
	// perInspection is how long the first scan may take for each tag.
	perInspection = 50 * time.Millisecond
)

// Tags is what a repository with very many tags costs, for a policy that has to look at every image: the newest by the
// time that the image itself says.
type Tags struct {
	Tags int `json:"tags"`
	// First is up to the commit of the newest and the last inspection, Second after NewTags more were pushed of which nobody told, and Restart what
	// a process that begins anew asks in its first look.
	First   Look `json:"first"`
	Second  Look `json:"second"`
	Restart Look `json:"restart"`
	NewTags int  `json:"new_tags"`
	// Resident is the most memory that the process had.
	Resident float64 `json:"rss_mib"`
}

// Look is what a part of it took.
type Look struct {
	Seconds   float64 `json:"s"`
	Requests  int     `json:"requests"`
	Pages     int     `json:"pages"`
	Inspected int     `json:"inspected"`
	CPU       float64 `json:"cpu_s"`
}

// lookAt returns what happened between two moments.
func lookAt(took, cpu time.Duration, asked Requests) Look {
	return Look{
		Seconds: measure.Seconds(took), Requests: asked.All(), Pages: asked.Lists + asked.Pages, Inspected: asked.Manifests,
		CPU: measure.Seconds(cpu),
	}
}

func (b *bench) tags(ctx context.Context, w *world) (err error) {
	o := b.opts
	b.say("One repository with %d tags: what is looked at in the first scan, and after %d more.", o.Tags, o.NewTags)
	t := &Tags{Tags: o.Tags, NewTags: o.NewTags}
	if err := w.replaceFront(ctx, tagsRate); err != nil {
		return err
	}
	if err := w.deployTags(ctx); err != nil {
		return err
	}
	if err := w.configure(ctx, settings{scanInterval: tagsInterval, requestsPerSecond: tagsRate}); err != nil {
		return err
	}
	patience := stepTimeout + time.Duration(o.Tags)*perInspection
	moved := w.watchPushes()
	t.First, err = w.span(ctx, func(ctx context.Context) error {
		if err := w.start(ctx); err != nil {
			return err
		}
		if _, err := receive(ctx, moved[repository], patience, "commit of the newest"); err != nil {
			return err
		}
		// The tag that was in Git is looked at when it is not there any more.
		return until(ctx, stepTimeout, "a look at every image", func(context.Context) (bool, error) {
			return w.front.Counts().Manifests >= o.Tags, nil
		})
	})
	if err != nil {
		return err
	}
	t.Second, err = w.span(ctx, func(ctx context.Context) error { return w.moreTags(ctx, moved) })
	if err != nil {
		return err
	}
	if t.Resident, err = measure.Peak(w.automator.ID()); err != nil {
		return err
	}
	w.kill()
	t.Restart, err = w.span(ctx, func(ctx context.Context) error {
		if err := w.start(ctx); err != nil {
			return err
		}
		return w.looked(ctx)
	})
	b.report.Tags = t
	b.say("  inspected %d in %.1f s, then %d of %d new ones, %d after a restart; %.1f MiB",
		t.First.Inspected, t.First.Seconds, t.Second.Inspected, o.NewTags, t.Restart.Inspected, t.Resident)
	return err
}

// replaceFront puts another limit before the registry.
func (w *world) replaceFront(ctx context.Context, limit int) error {
	if err := w.front.Stop(); err != nil {
		return err
	}
	front, err := StartFront(ctx, w.registry.Host(), w.opts.Latency, limit)
	w.front = front
	return err
}

// deployTags fills the registry, and commits an application that runs the oldest image. Most tags are of one image: what
// they cost is the same.
func (w *world) deployTags(ctx context.Context) error {
	made := time.Now().Add(-time.Hour).Truncate(time.Second)
	oldest, err := w.registry.Push(ctx, shop, "build-first", registry.Image{Created: made})
	if err != nil {
		return err
	}
	many, err := w.registry.Push(ctx, shop, "build-0", registry.Image{Created: made.Add(time.Second)})
	if err != nil {
		return err
	}
	tags := make([]string, 0, w.opts.Tags)
	for i := 1; i < w.opts.Tags-1; i++ {
		tags = append(tags, fmt.Sprintf("build-%d", i))
	}
	if err := w.registry.Fill(ctx, many, shop, tags); err != nil {
		return err
	}
	_, err = w.git.Commit(ctx, repository, gitserver.Change{Message: "Begin", Files: map[string]string{
		".tandem/shop.yaml": w.pipeline("shop", "env", fmt.Sprintf("- {name: shop, repository: %s, policy: {newest: created}}\n", w.image(shop))),
		shopFile:            deployment("shop", w.image(shop)+":build-first@"+oldest.Digest),
	}})
	return err
}

// moreTags pushes newer images, and waits for the commit of the newest.
func (w *world) moreTags(ctx context.Context, moved moves) error {
	newest := ""
	for i := range w.opts.NewTags {
		newest = fmt.Sprintf("new-%d", i)
		if _, err := w.registry.Push(ctx, shop, newest, registry.Image{Created: time.Now().Add(time.Duration(i) * time.Second)}); err != nil {
			return err
		}
	}
	for {
		if _, err := receive(ctx, moved[repository], stepTimeout, "commit of "+newest); err != nil {
			return err
		}
		content, err := w.git.File(ctx, repository, mainRef, shopFile)
		if err != nil {
			return err
		}
		if tagIn(content) == newest {
			return nil
		}
	}
}

// looked waits until the tags have been listed to the end.
func (w *world) looked(ctx context.Context) error {
	return until(ctx, stepTimeout, "a look", func(ctx context.Context) (bool, error) {
		looks, err := w.metric(ctx, "tandem_automator_scan_looks_total")
		return looks >= 1, err
	})
}

// span measures what the automator asks and takes while something happens.
func (w *world) span(ctx context.Context, what func(context.Context) error) (Look, error) {
	var before time.Duration
	var err error
	if w.automator != nil {
		if before, _, err = measure.Processor(w.automator.ID()); err != nil {
			return Look{}, err
		}
	}
	asked, began := w.front.Counts(), time.Now()
	if err := what(ctx); err != nil {
		return Look{}, err
	}
	took := time.Since(began)
	after, _, err := measure.Processor(w.automator.ID())
	return lookAt(took, after-before, w.front.Counts().Minus(asked)), err
}
