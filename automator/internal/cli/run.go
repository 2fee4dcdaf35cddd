package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tandem-cd/tandem/shared/printable"
)

// The exit codes. tandem diff follows diff(1): there 1 says that something differs.
const (
	exitFine    = 0
	exitFailed  = 1
	exitDiffers = 1
	exitTrouble = 2
)

// Run runs the command line of this process and returns its exit code. root is what New made.
func Run(ctx context.Context, root *cobra.Command, complaints io.Writer) int {
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitFine
	case errors.As(err, &differs{}):
		return exitDiffers
	case ctx.Err() != nil && cmd.Name() != diffName:
		return exitFine // interrupted, as one ends a watch
	}
	fmt.Fprintln(complaints, "tandem:", printable.Lines(err.Error())) // it may hold what a cluster said
	if cmd.Name() == diffName {
		return exitTrouble
	}
	return exitFailed
}
