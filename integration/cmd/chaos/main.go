// Command chaos makes trouble for Tandem and prints how long each kind takes to get over.
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

	"github.com/tandem-cd/tandem/integration/chaos"
)

func main() {
	if err := realMain(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func realMain(args []string, out, narration io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(narration)
	format := flags.String("o", "table", "how to print the times: table or json")
	short := flags.Bool("short", false, "only the stories of make test")
	dir := flags.String("dir", "", "an empty folder for the logs and everything else, which stays")
	list := flags.Bool("list", false, "list the stories and end")
	flags.Usage = func() {
		fmt.Fprintln(narration, "usage: chaos [flags] [STORY...]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *format != "table" && *format != "json" {
		return fmt.Errorf("-o %q is not one of table, json", *format)
	}
	stories, err := chaos.Select(chaos.Stories(), flags.Args(), *short)
	if err != nil {
		return err
	}
	if *list {
		for _, s := range stories {
			fmt.Fprintf(out, "%-20s %s\n", s.Name, s.What)
		}
		return nil
	}
	say := func(format string, args ...any) { fmt.Fprintf(narration, format+"\n", args...) }
	report, err := chaos.Run(ctx, chaos.Options{Stories: stories, Dir: *dir, Say: say})
	return errors.Join(printed(out, report, *format), err)
}

func printed(out io.Writer, report chaos.Report, format string) error {
	if format == "table" {
		fmt.Fprintln(out)
		return report.Table(out)
	}
	line, err := report.JSON()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}
