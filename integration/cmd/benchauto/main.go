// Command benchauto measures the automator between a registry and a Git server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/tandem-cd/tandem/integration/bench/autobench"
	"github.com/tandem-cd/tandem/integration/bench/figures"
	"github.com/tandem-cd/tandem/integration/env"
)

func main() {
	if err := interruptible(); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench-automator:", err)
		os.Exit(1)
	}
}

func interruptible() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return realMain(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

func realMain(ctx context.Context, args []string, out, narration io.Writer) error {
	opts, format, err := parse(args, narration)
	if err != nil {
		return err
	}
	opts.Say = func(format string, args ...any) { fmt.Fprintf(narration, format+"\n", args...) }
	dir, err := os.MkdirTemp("", "bench-automator-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if opts.Program, err = env.BuildAutomator(ctx, dir); err != nil {
		return err
	}
	report, err := autobench.Run(ctx, opts)
	if err != nil {
		return err
	}
	return figures.Print(out, *format, report, table)
}

func parse(args []string, usage io.Writer) (autobench.Options, *figures.Format, error) {
	opts := autobench.Defaults()
	flags := flag.NewFlagSet("bench-automator", flag.ContinueOnError)
	flags.SetOutput(usage)
	format := figures.Flag(flags)
	flags.Func("only", "the `parts` to measure, of "+strings.Join(autobench.Parts(), ",")+" (default all)", func(text string) error {
		opts.Only = strings.Split(text, ",")
		return nil
	})
	flags.DurationVar(&opts.Latency, "latency", opts.Latency, "what each answer of the registry takes longer")
	flags.IntVar(&opts.Limit, "limit", opts.Limit, "requests a second that the registry answers before it refuses")
	flags.IntVar(&opts.Pushes, "pushes", opts.Pushes, "push: images, each beside a bare push")
	flags.IntVar(&opts.Repositories, "repos", opts.Repositories, "scan: image repositories")
	flags.IntVar(&opts.TagsEach, "tags-each", opts.TagsEach, "scan: tags of each")
	flags.IntVar(&opts.Rounds, "rounds", opts.Rounds, "scan: rounds after the first")
	flags.DurationVar(&opts.Interval, "interval", opts.Interval, "scan: how often each is looked at")
	flags.IntVar(&opts.Tags, "tags", opts.Tags, "tags: tags of the one repository")
	flags.IntVar(&opts.NewTags, "new-tags", opts.NewTags, "tags: tags that come later")
	flags.IntVar(&opts.Files, "files", opts.Files, "edit: files of the repository")
	flags.IntVar(&opts.Bumps, "bumps", opts.Bumps, "edit: images, and as many right after somebody else's push")
	flags.IntVar(&opts.Writers, "writers", opts.Writers, "race: others who push to the branch")
	flags.IntVar(&opts.Updates, "updates", opts.Updates, "race: images, one after the other")
	flags.DurationVar(&opts.Pause, "pause", opts.Pause, "race: how long each of the others rests after a push that was taken")
	flags.StringVar(&opts.Profiles, "profiles", opts.Profiles, "`folder` for profiles of the automator in scan, edit and race; none by default")
	flags.StringVar(&opts.Keep, "keep", "", "work in this `folder` and leave it behind")
	if err := flags.Parse(args); err != nil {
		return opts, format, err
	}
	return opts, format, opts.Validate()
}
