//go:build !linux

package process

import (
	"errors"
	"fmt"
)

// Pin has a process run on one processor, where the system can do that.
func Pin(pid, _ int) error { return fmt.Errorf("pin process %d: %w", pid, errors.ErrUnsupported) }
