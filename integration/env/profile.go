package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

var errNoProfile = errors.New("no profile")

// Profile writes what the agent does in a span of time to a file.
func (a *Agent) Profile(ctx context.Context, span time.Duration, file string) error {
	return Profile(ctx, a.cfg.debug, span, file)
}

// Profile writes how a process with profiles at an address spends its processor in a span of time to a file, for go tool
// pprof.
func Profile(ctx context.Context, address string, span time.Duration, file string) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, int(span.Seconds()))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("profile of %s: %w", address, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%w of %s: %s", errNoProfile, address, response.Status)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, response.Body)
	return errors.Join(err, out.Close())
}
