// Command tandem asks the agents what runs where, and why.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/tandem-cd/tandem/automator/internal/cli"
)

func main() { os.Exit(realMain()) }

func realMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, cli.New(os.Stdout), os.Stderr)
}
