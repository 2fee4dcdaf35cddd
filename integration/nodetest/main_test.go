//go:build linux

package nodetest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/tandem-cd/tandem/integration/env/node"
)

// variable says what to do on a machine where a node cannot run.
const variable = "TANDEM_NODE_TEST"

func TestMain(m *testing.M) {
	flag.Parse()
	required, reason := why(os.Getenv(variable))
	if reason == nil {
		os.Exit(m.Run())
	}
	fmt.Fprintf(os.Stderr, "node test: NOT RUN: %v\n", reason)
	if required {
		os.Exit(1)
	}
}

// why returns the reason not to run, and whether that is a failure.
func why(mode string) (required bool, reason error) {
	switch mode {
	case "off":
		return false, fmt.Errorf("%s is off", variable)
	case "", "auto", "required":
		return mode == "required", node.Check(context.Background())
	default:
		return true, fmt.Errorf("%s is %q, want auto, required or off", variable, mode)
	}
}
