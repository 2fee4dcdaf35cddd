// Command tandem asks the agents what runs where, and why.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/tandem-cd/tandem/automator/internal/cli"
)

func main() {
	if err := realMain(); err != nil {
		fmt.Fprintln(os.Stderr, "tandem:", err)
		os.Exit(1)
	}
}

func realMain() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := cli.New(os.Stdout).ExecuteContext(ctx)
	if ctx.Err() != nil {
		return nil // interrupted, as one ends a watch
	}
	return err
}
