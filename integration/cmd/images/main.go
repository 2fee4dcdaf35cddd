// Command images builds the product's container images, without a container
// engine, as OCI layouts or straight into a registry.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/tandem-cd/tandem/integration/images"
)

const usage = `usage: images [flags] [image...]
       images lock

Builds the images (all of them, or those that are named) as OCI layouts, or with
--push into a registry. With "lock" it pins the newest Debian packages instead.

`

func main() {
	if err := realMain(os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func realMain(args []string, out, narration io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(args) > 0 && args[0] == "lock" {
		return lock(ctx, args[1:], out)
	}
	opts, err := parse(args, narration)
	if err != nil {
		return err
	}
	results, err := build(ctx, opts, narration)
	if err != nil {
		return err
	}
	return write(out, opts.format, results)
}

// options are the command line.
type options struct {
	out, push, format string
	platforms         []string
	specs             []images.Spec
}

func parse(args []string, narration io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.SetOutput(narration)
	flags.Usage = func() {
		fmt.Fprint(narration, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.out, "out", ".tmp/images", "write an OCI layout for each image below this `folder`")
	flags.StringVar(&o.push, "push", "", "push to repositories below this `prefix`, such as ghcr.io/acme, instead of writing layouts")
	flags.StringVar(&o.format, "o", formatTable, "how to print the digests: "+strings.Join(formats(), ", "))
	flags.Func("platform", "build for this `platform` only, such as linux/arm64; may be given again", func(value string) error {
		o.platforms = append(o.platforms, value)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if !slices.Contains(formats(), o.format) {
		return o, fmt.Errorf("-o %q is not one of %s", o.format, strings.Join(formats(), ", "))
	}
	var err error
	o.specs, err = choose(flags.Args())
	return o, err
}

// choose returns the named images, or all.
func choose(names []string) ([]images.Spec, error) {
	all := images.Specs()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []images.Spec
	for _, name := range names {
		at := slices.IndexFunc(all, func(spec images.Spec) bool { return spec.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("no image %q: there are tandem-automator, tandem-synchronizer and tandem", name)
		}
		chosen = append(chosen, all[at])
	}
	return chosen, nil
}

func build(ctx context.Context, o options, narration io.Writer) ([]result, error) {
	builder, err := images.NewBuilder(ctx, images.Options{
		Platforms: o.platforms, Progress: func(line string) { fmt.Fprintln(narration, line) },
	})
	if err != nil {
		return nil, err
	}
	var results []result
	for _, spec := range o.specs {
		built, err := builder.Build(ctx, spec)
		if err != nil {
			return nil, err
		}
		r, err := deliver(ctx, built, o)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

func lock(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		return fmt.Errorf("lock takes no arguments, and got %q", args)
	}
	pinned, err := images.Pin(ctx)
	if err != nil {
		return err
	}
	for _, architecture := range slices.Sorted(maps.Keys(pinned.Packages)) {
		fmt.Fprintf(out, "%s: %d packages of %s pinned in %s\n", architecture, len(pinned.Packages[architecture]), pinned.Release, images.LockFile)
	}
	return nil
}
