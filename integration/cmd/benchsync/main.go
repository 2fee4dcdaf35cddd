// Command benchsync measures the synchronizer beside a bare client of the same API server.
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
		fmt.Fprintln(os.Stderr, "bench-sync:", err)
		os.Exit(1)
	}
}

func realMain(args []string, out, narration io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	opts := bench.SyncDefaults()
	flags := flag.NewFlagSet("bench-sync", flag.ContinueOnError)
	flags.SetOutput(narration)
	format := figures.Flag(flags)
	flags.IntVar(&opts.Objects, "objects", opts.Objects, "objects of the Sync")
	flags.IntVar(&opts.Pairs, "pairs", opts.Pairs, "first applies, each beside a bare client")
	flags.IntVar(&opts.Samples, "samples", opts.Samples, "one-object commits, and changes by somebody else")
	flags.IntVar(&opts.Restores, "restores", opts.Restores, "how often everything is deleted")
	flags.DurationVar(&opts.Noop, "noop", opts.Noop, "how long to watch while nothing changes")
	flags.IntVar(&opts.Grown, "grown", opts.Grown, "objects in the end, to see what each costs; 0 measures none")
	flags.IntVar(&opts.Syncs, "syncs", opts.Syncs, "small Syncs that one commit changes; 0 measures none")
	flags.StringVar(&opts.Profiles, "profiles", opts.Profiles, "folder for profiles of the API server and both agents while objects and Syncs change, and of the synchronizer's memory; none by default")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if opts.Objects < 10 || opts.Pairs < 1 {
		return fmt.Errorf("-objects %d -pairs %d: at least 10 and 1 are needed", opts.Objects, opts.Pairs)
	}
	opts.Say = func(format string, args ...any) { fmt.Fprintf(narration, format+"\n", args...) }
	report, err := bench.RunSync(ctx, opts)
	if err != nil {
		return err
	}
	return figures.Print(out, *format, report, table)
}

func table(out io.Writer, r bench.SyncReport) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nWHAT\tTANDEM\tBASELINE\tDIFFERENCE")
	fmt.Fprintf(w, "first apply of %d objects\t%.2f s\t%.2f s bare client\t× %.2f\n", r.Objects, r.FirstApply, r.Raw, r.Ratio)
	fmt.Fprintf(w, "requests per object\t%.2f\t1.00\t\n", r.Requests)
	fmt.Fprintf(w, "announced → applied, one object changed, p50, p99\t%.1f, %.1f ms\t\t\n", r.OneChange.P50, r.OneChange.P99)
	fmt.Fprintf(w, "changed or deleted by somebody → undone, p50, p99\t%.1f, %.1f ms\t\t\n", r.DriftHeal.P50, r.DriftHeal.P99)
	fmt.Fprintf(w, "everything deleted → everything back\t\t\t× %.2f\n", r.Restore)
	fmt.Fprintf(w, "requests while nothing changed\t%d\t\t\n", r.Noop)
	fmt.Fprintf(w, "restart, nothing changed: reads, writes\t%d, %d\t\t\n", r.RestartReads, r.RestartWrites)
	fmt.Fprintf(w, "memory at rest, at its peak\t%.0f, %.0f MiB\t\t\n", r.Resident, r.Peak)
	fmt.Fprintf(w, "memory for each further object\t%.1f KiB\t\t\n", r.PerObject)
	fmt.Fprintf(w, "one commit for many Syncs → all healthy\t%.1f s\t\t× %.2f\n", r.Many.Seconds, r.Many.Ratio)
	fmt.Fprintf(w, "requests for each of these Syncs\t%.2f\t4.00\t\n", r.Many.Requests)
	return w.Flush()
}
