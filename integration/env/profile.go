package env

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tandem-cd/tandem/integration/env/profile"
)

// Profile writes how the agent spends its processor in a span of time to a file, for go tool pprof. The world has
// Options.Profiles.
func (a *Agent) Profile(ctx context.Context, span time.Duration, file string) error {
	if err := profile.Processor(ctx, http.DefaultClient, "http://"+a.cfg.debug, span, file); err != nil {
		return fmt.Errorf("%s: %w", a.cfg.name, err)
	}
	return nil
}

// Memory writes what the agent's heap holds to a file, for go tool pprof. The world has Options.Profiles.
func (a *Agent) Memory(ctx context.Context, file string) error {
	if err := profile.Memory(ctx, http.DefaultClient, "http://"+a.cfg.debug, file); err != nil {
		return fmt.Errorf("%s: %w", a.cfg.name, err)
	}
	return nil
}
