package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/tandem-cd/tandem/shared/doctor"
	"github.com/tandem-cd/tandem/synchronizer"
)

// visit looks at what the synchronizer stands on, prints what it finds, and returns an error when something does not work.
func visit(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("tandem-synchronizer doctor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", "/etc/tandem/synchronizer.yaml", "configuration `file`")
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig `file` to look with; what the configuration says when empty. Rights are those of its user then")
	format := flags.String("o", "text", "how to print: text or json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *format != "text" && *format != "json" {
		return fmt.Errorf("-o %q is not one of text, json", *format)
	}
	cfg, err := synchronizer.Load(*path)
	if err != nil {
		return err
	}
	if *kubeconfig != "" {
		cfg.Kubeconfig = *kubeconfig
	}
	report := &doctor.Report{}
	synchronizer.Doctor(ctx, cfg, report)
	write := report.WriteText
	if *format == "json" {
		write = report.WriteJSON
	}
	return errors.Join(write(stdout), report.Err())
}
