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
	// perPipeline is how many images one pipeline has.
	perPipeline = 10
	// quietFor is how long nothing must be asked for until what began is over: longer than any look waits for its turn.
	quietFor = 3 * time.Second
	// roundPatience is how many intervals a round may take.
	roundPatience = 4
)

// Scan is what a round of looks at many repositories takes when nothing is new.
type Scan struct {
	Repositories int `json:"repos"`
	Tags         int `json:"tags"`
	// Seconds is how long a round takes: it is spread over the interval.
	Seconds float64 `json:"s"`
	// Requests are those of one look at each repository, and FirstRequests those of the first round, handshakes included.
	Requests      float64 `json:"requests"`
	FirstRequests int     `json:"first_requests"`
	Refused       int     `json:"refused"`
	// CPU is the processor time of one look at each repository, with everything else that the process does meanwhile; GitCPU
	// is what git takes beside it, to fetch.
	CPU    float64 `json:"cpu_s"`
	GitCPU float64 `json:"git_cpu_s"`
	// Resident is the most memory that the process had in these rounds, FirstResident in the first.
	Resident      float64 `json:"rss_mib"`
	FirstResident float64 `json:"first_rss_mib"`
	Rounds        float64 `json:"rounds"`
}

// scan measures rounds after the first.
func (b *bench) scan(ctx context.Context, w *world) error {
	o := b.opts
	b.say("Scan: %d image repositories with %d tags, %d rounds of %s after the first.", o.Repositories, o.TagsEach, o.Rounds, o.Interval)
	if err := w.deployMany(ctx); err != nil {
		return err
	}
	if err := w.configure(ctx, settings{scanInterval: o.Interval}); err != nil {
		return err
	}
	if err := w.start(ctx); err != nil {
		return err
	}
	if err := w.round(ctx, 1); err != nil {
		return err
	}
	first := w.front.Counts()
	if err := w.quiet(ctx); err != nil {
		return err
	}
	var s *Scan
	err := w.profiled(ctx, ScanPart, func(ctx context.Context) (err error) {
		s, err = w.measureRounds(ctx)
		return err
	})
	if err != nil {
		return err
	}
	s.FirstRequests = first.All()
	b.report.Scan = s
	b.say("  %.0f requests, %.2f s of processor for a round of %.1f s; %.1f MiB", s.Requests, s.CPU, s.Seconds, s.Resident)
	return nil
}

// deployMany fills the registry, and commits applications that run the newest tag of each repository.
func (w *world) deployMany(ctx context.Context) error {
	pushed, err := w.registry.Push(ctx, shop, firstTag, registry.Image{})
	if err != nil {
		return err
	}
	tags := make([]string, w.opts.TagsEach)
	for i := range tags {
		tags[i] = fmt.Sprintf("1.%d.0", i)
	}
	newest := tags[len(tags)-1]
	files := map[string]string{}
	for first := 0; first < w.opts.Repositories; first += perPipeline {
		app := fmt.Sprintf("app-%04d", first/perPipeline)
		var images []string
		for i := first; i < min(first+perPipeline, w.opts.Repositories); i++ {
			name := fmt.Sprintf("service-%04d", i)
			if err := w.registry.Fill(ctx, pushed, "acme/"+name, tags); err != nil {
				return err
			}
			images = append(images, fmt.Sprintf("- {name: %s, repository: %s}\n", name, w.image("acme/"+name)))
			files["env/"+app+"/"+name+".yaml"] = deployment(name, w.image("acme/"+name)+":"+newest+"@"+pushed.Digest)
		}
		files[".tandem/"+app+".yaml"] = w.pipeline(app, "env/"+app, images...)
	}
	_, err = w.git.Commit(ctx, repository, gitserver.Change{Files: files, Message: "Begin"})
	return err
}

// round waits until so many rounds of looks have been made since the start.
func (w *world) round(ctx context.Context, rounds int) error {
	wanted := rounds * w.opts.Repositories
	patience := time.Duration(rounds*roundPatience) * (w.opts.Interval + time.Duration(w.opts.Repositories/w.opts.Limit+1)*time.Second)
	return until(ctx, patience, fmt.Sprintf("%d looks", wanted), func(context.Context) (bool, error) {
		return w.front.Counts().Lists >= wanted, nil
	})
}

// quiet waits until what follows the first round is over: passes of the writer, and what they ask for. Looks go on.
func (w *world) quiet(ctx context.Context) error {
	last, since := -1.0, time.Now()
	return until(ctx, stepTimeout, "the end of the first round", func(ctx context.Context) (bool, error) {
		passes, err := w.metric(ctx, "tandem_automator_update_passes_total")
		if passes != last {
			last, since = passes, time.Now()
		}
		return time.Since(since) > quietFor, err
	})
}

func (w *world) measureRounds(ctx context.Context) (*Scan, error) {
	pid := w.automator.ID()
	first := w.front.Counts()
	peak, err := measure.Peak(pid)
	if err != nil {
		return nil, err
	}
	if err := measure.ResetPeak(pid); err != nil {
		return nil, err
	}
	own, git, err := measure.Processor(pid)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	looks := w.opts.Rounds * w.opts.Repositories
	patience := time.Duration(w.opts.Rounds*roundPatience) * w.opts.Interval
	err = until(ctx, patience, fmt.Sprintf("%d looks", looks), func(context.Context) (bool, error) {
		return w.front.Counts().Minus(first).Lists >= looks, nil
	})
	if err != nil {
		return nil, err
	}
	took, asked := time.Since(began), w.front.Counts().Minus(first)
	ownAfter, gitAfter, err := measure.Processor(pid)
	if err != nil {
		return nil, err
	}
	rounds := float64(asked.Lists) / float64(w.opts.Repositories)
	s := &Scan{
		Repositories: w.opts.Repositories, Tags: w.opts.Repositories * w.opts.TagsEach, Rounds: rounds,
		Seconds:  measure.Tenth(took.Seconds() / rounds),
		Requests: measure.Tenth(float64(asked.All()) / rounds), Refused: w.front.Counts().Refused,
		CPU:    measure.Seconds(time.Duration(float64(ownAfter-own) / rounds)),
		GitCPU: measure.Seconds(time.Duration(float64(gitAfter-git) / rounds)), FirstResident: peak,
	}
	s.Resident, err = measure.Peak(pid)
	return s, err
}
