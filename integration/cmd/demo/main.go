// Command demo runs the main job on a Kubernetes control plane, a registry and a
// Git server of its own, and says what happens and why: somebody pushes an image,
// and the cluster runs it because Git says so.
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
)

func main() {
	if err := interruptible(); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// interruptible runs the demo until its end or an interrupt.
func interruptible() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return realMain(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// The formats of -o.
const (
	formatText = "text"
	formatJSON = "json"
)

// options are the command line.
type options struct {
	kubeconfig string
	dir        string
	format     string
	once, keep bool
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "use the cluster of this `file` instead of starting one; its user must be allowed everything.\n"+
		"Pods then run on a simulated node that joins for as long as the demo lasts: the cluster's own cannot pull from this machine")
	flags.StringVar(&o.dir, "dir", "", "work in this empty `folder` and leave it behind; by default a temporary one that is removed")
	flags.StringVar(&o.format, "o", formatText, "text, or json: one object on the last line of standard output, and the story on standard error")
	flags.BoolVar(&o.once, "once", false, "do the main job and nothing else: no tour of the commands in the end")
	flags.BoolVar(&o.keep, "keep", false, "leave everything running until Ctrl-C, and say how to look at it")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.format != formatText && o.format != formatJSON {
		return o, fmt.Errorf("-o %q is neither text nor json", o.format)
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not understood; see -help", flags.Arg(0))
	}
	return o, nil
}

func realMain(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parse(args, stderr)
	if err != nil {
		return err
	}
	story := stdout
	if opts.format == formatJSON {
		story = stderr
	}
	d := &demo{opts: opts, out: newNarrator(story), results: stdout}
	err = d.run(ctx)
	if ctx.Err() != nil && d.measured {
		err = nil // Ctrl-C after the job is done is how a kept demo ends
	}
	return errors.Join(err, d.close())
}
