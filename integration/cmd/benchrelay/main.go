// Command benchrelay measures the relay of one automator with a crowd of synchronizers, beside a bare gRPC health watch.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/tandem-cd/tandem/integration/bench/figures"
	"github.com/tandem-cd/tandem/integration/bench/relaybench"
	"github.com/tandem-cd/tandem/shared/rpc"
)

func main() {
	if err := interruptible(); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench-relay:", err)
		os.Exit(1)
	}
}

func interruptible() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 7 && os.Args[1] == relaybench.HealthCommand {
		a := os.Args[2:]
		return relaybench.HealthServer(ctx, a[0], a[1], rpc.TLSFiles{Cert: a[2], Key: a[3], CA: a[4]})
	}
	return realMain(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

func realMain(ctx context.Context, args []string, out, narration io.Writer) error {
	opts, format, hostile, err := parse(args, narration)
	if err != nil {
		return err
	}
	opts.Say = func(format string, args ...any) { fmt.Fprintf(narration, format+"\n", args...) }
	if opts.Self, err = os.Executable(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-relay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if opts.Program, err = relaybench.Build(ctx, dir); err != nil {
		return err
	}
	measure, show := relaybench.Run, table
	if hostile {
		measure, show = relaybench.RunHostile, harmTable
	}
	report, err := measure(ctx, opts)
	if err != nil {
		return err
	}
	return figures.Print(out, *format, report, show)
}

func parse(args []string, usage io.Writer) (opts relaybench.Options, format *figures.Format, hostile bool, err error) {
	opts = relaybench.Defaults()
	flags := flag.NewFlagSet("bench-relay", flag.ContinueOnError)
	flags.SetOutput(usage)
	format = figures.Flag(flags)
	flags.IntVar(&opts.Clients, "clients", opts.Clients, "synchronizers")
	flags.IntVar(&opts.Announcements, "announcements", opts.Announcements, "commits that are announced to all")
	flags.DurationVar(&opts.Outage, "outage", opts.Outage, "how long the automator is gone; 0 leaves it out")
	flags.DurationVar(&opts.Soak, "soak", opts.Soak, "how long memory is watched under commits, reports and cuts; 0 leaves it out")
	flags.BoolVar(&opts.Fetch, "fetch", opts.Fetch, "fetch what is announced")
	flags.BoolVar(&opts.Baseline, "baseline", opts.Baseline, "measure the bare health watch too")
	flags.BoolVar(&hostile, "hostile", false, "measure the harm that a malicious synchronizer does to 100 well-behaved neighbours, instead")
	flags.StringVar(&opts.Keep, "keep", "", "work in this `folder` and leave it behind")
	if err := flags.Parse(args); err != nil {
		return opts, format, hostile, err
	}
	if opts.Clients < 1 || opts.Announcements < 1 {
		return opts, format, hostile, errors.New("-clients and -announcements must be at least 1")
	}
	return opts, format, hostile, nil
}
