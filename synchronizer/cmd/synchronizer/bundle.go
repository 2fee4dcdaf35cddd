package main

import (
	"context"
	"flag"
	"io"

	"github.com/tandem-cd/tandem/synchronizer"
)

// collect writes a support bundle to standard output.
func collect(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("tandem-synchronizer support-bundle", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", "/etc/tandem/synchronizer.yaml", "configuration `file`")
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig `file` to look with; what the configuration says when empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg, err := synchronizer.Load(*path)
	if err != nil {
		return err
	}
	if *kubeconfig != "" {
		cfg.Kubeconfig = *kubeconfig
	}
	return synchronizer.SupportBundle(ctx, cfg, *path, stdout)
}
