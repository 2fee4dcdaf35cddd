// Command automator watches registries, commits image updates to Git, and relays Git state to clusters.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/tandem-cd/tandem/automator"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

func main() {
	if err := realMain(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "tandem-automator:", err)
		os.Exit(1)
	}
}

// gcPercent lets the heap grow by half between collections and not double: most of it is thousands of connections that
// have nothing to say, and a collection of that costs less than the memory. GOGC overrides it.
const gcPercent = 50

func realMain(args []string, out io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	flags := flag.NewFlagSet("tandem-automator", flag.ContinueOnError)
	flags.SetOutput(out)
	path := flags.String("config", "/etc/tandem/automator.yaml", "configuration `file`")
	check := flags.Bool("check", false, "check the configuration and exit")
	version := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *version {
		fmt.Fprintln(out, automator.Version)
		return nil
	}
	cfg, err := automator.Load(*path)
	if err != nil || *check {
		return err
	}
	log, err := telemetry.NewLogger(cfg.Log)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	a, err := automator.New(ctx, cfg, log)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
