package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandem-cd/tandem/integration/env"
)

// Story is one kind of trouble.
type Story struct {
	// Name is lower-case words and dashes; What says in a sentence what happens.
	Name, What string
	// Short stories are part of make test.
	Short bool
	// Options change the world that the story plays in.
	Options func(*env.Options)
	// Before prepares the world before anything runs in it.
	Before func(s *Scene) error
	// Tell makes the trouble and waits for convergence.
	Tell func(ctx context.Context, s *Scene) error
}

// Options of a run.
type Options struct {
	// Stories to tell, in this order.
	Stories []Story
	// Dir is a folder for logs and everything else, which stays; where it is not given, nothing does.
	Dir string
	// Say tells what goes on.
	Say func(format string, args ...any)
}

// Outcome is how a story ended.
type Outcome struct {
	Story   string  `json:"story"`
	What    string  `json:"what"`
	Rounds  []Round `json:"rounds"`
	Seconds float64 `json:"seconds"` // all of it, the start included
	Failure string  `json:"failure,omitempty"`
	Skipped string  `json:"skipped,omitempty"`
}

// Report is how all ended.
type Report struct {
	Outcomes []Outcome `json:"stories"`
}

// ErrFailed says that a story did not end well.
var ErrFailed = errors.New("a story did not end well")

// ErrSkipped says that this machine does not let a story be told, and why.
var ErrSkipped = errors.New("not told")

// Run tells stories on a control plane of its own, one after the other, all of them even where one fails.
func Run(ctx context.Context, opts Options) (report Report, err error) {
	ground, err := Ground(ctx, opts.Dir, opts.Say)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, ground.Stop()) }()
	failed := false
	for _, story := range opts.Stories {
		opts.Say("%s: %s", story.Name, story.What)
		outcome := Tell(ctx, ground, story, opts.Say)
		if outcome.Failure != "" {
			failed = true
			opts.Say("%s failed: %s", story.Name, outcome.Failure)
		}
		report.Outcomes = append(report.Outcomes, outcome)
		if ctx.Err() != nil {
			return report, ctx.Err()
		}
	}
	if failed {
		return report, ErrFailed
	}
	return report, nil
}

// Ground starts what stories stand on: a control plane with a proxy before its etcd. Its work folder stays where one is given.
func Ground(ctx context.Context, dir string, say func(format string, args ...any)) (*env.Ground, error) {
	return env.StartGround(ctx, env.GroundOptions{Dir: dir, BetweenEtcd: true, Progress: func(line string) { say("%s", line) }})
}

// Tell tells one story in a world of its own.
func Tell(ctx context.Context, ground *env.Ground, story Story, say func(format string, args ...any)) Outcome {
	began := time.Now()
	outcome := Outcome{Story: story.Name, What: story.What}
	rounds, err := tell(ctx, ground, story, say)
	outcome.Rounds, outcome.Seconds = rounds, time.Since(began).Seconds()
	switch {
	case errors.Is(err, ErrSkipped):
		outcome.Skipped = err.Error()
	case err != nil:
		outcome.Failure = err.Error()
	}
	return outcome
}

func tell(ctx context.Context, ground *env.Ground, story Story, say func(format string, args ...any)) (rounds []Round, err error) {
	options := env.Options{Name: "chaos-" + story.Name, Sites: []string{site}, Between: true}
	if story.Options != nil {
		story.Options(&options)
	}
	world, err := env.New(ctx, ground, options)
	if err != nil {
		return nil, err
	}
	s := &Scene{World: world, Site: world.Sites[site], enrolls: options.Enroll > 0, trees: map[string]string{}, say: say}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s%s", err, ending(world.Automator.Log()), ending(s.Site.Synchronizer.Log()))
		}
		err = errors.Join(err, world.Close())
		for _, after := range s.after {
			err = errors.Join(err, after())
		}
	}()
	for _, step := range []func(context.Context) error{
		func(context.Context) error {
			if story.Before == nil {
				return nil
			}
			return story.Before(s)
		},
		s.Begin, func(ctx context.Context) error { return story.Tell(ctx, s) }, s.End,
	} {
		if err := step(ctx); err != nil {
			return s.rounds, err
		}
	}
	return s.rounds, nil
}

// maxEnding is how much of a log a failure shows.
const maxEnding = 4000

func ending(path string) string {
	log, err := os.ReadFile(path)
	if err != nil {
		return err.Error() + "\n"
	}
	return fmt.Sprintf("%s ends with:\n%s", path, log[max(0, len(log)-maxEnding):])
}

// Select returns the stories with the given names in their order, all for none; short leaves only those of make test.
func Select(stories []Story, names []string, short bool) ([]Story, error) {
	chosen := slices.Clone(stories)
	if len(names) > 0 {
		chosen = nil
	}
	for _, name := range names {
		at := slices.IndexFunc(stories, func(s Story) bool { return s.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("no story is named %q; there are %s", name, strings.Join(Names(stories), ", "))
		}
		chosen = append(chosen, stories[at])
	}
	return slices.DeleteFunc(chosen, func(s Story) bool { return short && !s.Short }), nil
}

// Names lists stories.
func Names(stories []Story) []string {
	var names []string
	for _, s := range stories {
		names = append(names, s.Name)
	}
	return names
}

// JSON is the report in one line.
func (r Report) JSON() ([]byte, error) { return json.Marshal(r) }

// Table prints the report for people.
func (r Report) Table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "STORY\tTROUBLE\tCONVERGED AFTER")
	for _, o := range r.Outcomes {
		for _, round := range o.Rounds {
			fmt.Fprintf(w, "%s\t%s\t%.2f s\n", o.Story, round.What, round.Seconds)
		}
		if o.Skipped != "" {
			fmt.Fprintf(w, "%s\t%s\t\n", o.Story, o.Skipped)
		}
		if o.Failure != "" {
			first, _, _ := strings.Cut(o.Failure, "\n")
			fmt.Fprintf(w, "%s\tFAILED: %s\t\n", o.Story, first)
		}
	}
	worst := Round{}
	count := 0
	for _, o := range r.Outcomes {
		count += len(o.Rounds)
		if len(o.Rounds) > 0 {
			worst = slices.MaxFunc(append(o.Rounds, worst), func(a, b Round) int { return cmp.Compare(a.Seconds, b.Seconds) })
		}
	}
	fmt.Fprintf(w, "\n%d troubles\tthe slowest: %s\t%.2f s\n", count, worst.What, worst.Seconds)
	return w.Flush()
}
