package story

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"

	"github.com/rogpeppe/go-internal/testscript"
)

// asks runs a command of the CLI until what it prints matches, as one does who waits for agents to come to it. A command
// that fails prints nothing that counts; one that finds differences does not fail.
func asks(s *Teller, ts *testscript.TestScript, args []string) error {
	pattern, err := regexp.Compile("(?m)" + args[0])
	if err != nil {
		return err
	}
	return s.until(func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, s.World.Program("tandem"), append([]string{"--config", s.World.CLIConfig()}, args[1:]...)...)
		out, err := cmd.Output()
		if !pattern.Match(out) {
			complaint := ""
			if failed, ok := errors.AsType[*exec.ExitError](err); ok {
				complaint = string(failed.Stderr)
			}
			return fmt.Errorf("%w: tandem %q prints nothing that matches %s: %s%s", errNotYet, args[1:], pattern, out, complaint)
		}
		fmt.Fprintf(ts.Stdout(), "%s", out)
		return nil
	})
}
