package automator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

const (
	// hookHeader and hookBody bound how long a caller may take over a request.
	hookHeader = 10 * time.Second
	hookBody   = 30 * time.Second
	// hookDrain bounds how long requests may go on after the end was asked for.
	hookDrain = 5 * time.Second
)

// refusedPerMinute is how many refused deliveries are logged in a minute: somebody who guesses must not fill the disk.
const refusedPerMinute = 10

// refusedHooks logs deliveries that were refused.
func (a *Automator) refusedHooks() func(kind, reason string) {
	few := rate.NewLimiter(rate.Every(time.Minute/refusedPerMinute), refusedPerMinute)
	return func(kind, reason string) {
		if few.Allow() {
			a.log.Warn("webhook refused", zap.String("kind", kind), zap.String("reason", reason))
		}
	}
}

// serveWebhooks listens for hints of registries and Git hosts.
func (a *Automator) serveWebhooks(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.Webhook.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: a.hooks, ReadHeaderTimeout: hookHeader, ReadTimeout: hookBody, WriteTimeout: hookBody}
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), hookDrain)
		defer cancel()
		_ = server.Shutdown(drain) // what does not end in time is cut by the end of the process
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}
