// Command bench measures Tandem beside what the parts below it need for the same work.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/tandem-cd/tandem/integration/bench"
	"github.com/tandem-cd/tandem/integration/bench/figures"
)

func main() {
	if err := realMain(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func realMain(args []string, out, narration io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	opts := bench.Defaults()
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(narration)
	format := figures.Flag(flags)
	flags.IntVar(&opts.Pushes, "pushes", opts.Pushes, "image pushes")
	flags.IntVar(&opts.Changes, "changes", opts.Changes, "one-object commits")
	flags.IntVar(&opts.Objects, "objects", opts.Objects, "objects of a first apply")
	flags.IntVar(&opts.Pairs, "pairs", opts.Pairs, "first applies, each beside a bare client")
	flags.DurationVar(&opts.Noop, "noop", opts.Noop, "how long to watch while nothing changes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	opts.Say = func(format string, args ...any) { fmt.Fprintf(narration, format+"\n", args...) }
	report, err := bench.Run(ctx, opts)
	if err != nil {
		return err
	}
	return figures.Print(out, *format, report, table)
}

func table(out io.Writer, r bench.Report) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nWHAT\tTANDEM\tBASELINE\tDIFFERENCE")
	fmt.Fprintf(w, "image acknowledged → commit on the Git server, p50\t%.1f ms\t%.1f ms bare git push\t%+.1f ms\n",
		r.PushToCommit.Tandem.P50, r.PushToCommit.Bare.P50, r.PushToCommit.Overhead)
	fmt.Fprintf(w, "the same, p99\t%.1f ms\t%.1f ms\t\n", r.PushToCommit.Tandem.P99, r.PushToCommit.Bare.P99)
	fmt.Fprintf(w, "announced → applied, one object of %d, p50\t%.1f ms\t%.1f ms bare apply\t\n", r.FirstApply.Objects, r.Change.Tandem.P50, r.Change.Bare.P50)
	fmt.Fprintf(w, "the same, p99\t%.1f ms\t%.1f ms\t\n", r.Change.Tandem.P99, r.Change.Bare.P99)
	fmt.Fprintf(w, "first apply of %d objects\t%.2f s\t%.2f s bare client\t× %.2f\n", r.FirstApply.Objects, r.FirstApply.Tandem, r.FirstApply.Bare, r.FirstApply.Ratio)
	fmt.Fprintf(w, "requests per object\t%.2f\t1.00\t\n", r.FirstApply.Requests)
	fmt.Fprintf(w, "requests of a no-op in %.0f s\t%d\t%d of others\t\n", r.Noop.Seconds, r.Noop.Requests, r.Noop.Baseline)
	fmt.Fprintf(w, "restart, nothing changed: reads, writes\t%d, %d\t\t\n", r.Noop.RestartReads, r.Noop.RestartWrites)
	fmt.Fprintf(w, "memory of automator, synchronizer\t%.0f, %.0f MiB\t\t\n", r.Memory.Automator, r.Memory.Synchronizer)
	return w.Flush()
}
