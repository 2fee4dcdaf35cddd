package story

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/rogpeppe/go-internal/testscript"
)

// asks runs a command of the CLI until it succeeds, as one does who waits for agents that start.
func asks(s *Teller, ts *testscript.TestScript, args []string) error {
	return s.until(func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, s.World.Program("tandem"), append([]string{"--config", s.World.CLIConfig()}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: tandem %q: %s", errNotYet, args, out)
		}
		fmt.Fprintf(ts.Stdout(), "%s", out)
		return nil
	})
}
