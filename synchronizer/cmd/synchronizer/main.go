// Command synchronizer converges a cluster on the Git state that it receives.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/synchronizer"
)

func main() {
	if err := realMain(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "tandem-synchronizer:", err)
		os.Exit(1)
	}
}

func realMain(args []string, stdout, out io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(args) > 0 {
		switch args[0] {
		case "doctor":
			return visit(ctx, args[1:], stdout, out)
		case "support-bundle":
			return collect(ctx, args[1:], stdout, out)
		}
	}
	flags := flag.NewFlagSet("tandem-synchronizer", flag.ContinueOnError)
	flags.SetOutput(out)
	path := flags.String("config", "/etc/tandem/synchronizer.yaml", "configuration `file`")
	check := flags.Bool("check", false, "check the configuration and exit")
	version := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *version {
		fmt.Fprintln(out, synchronizer.Version)
		return nil
	}
	cfg, err := synchronizer.Load(*path)
	if err != nil || *check {
		return err
	}
	log, err := telemetry.NewLogger(cfg.Log)
	if err != nil {
		return err
	}
	s, err := synchronizer.New(cfg, log)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
