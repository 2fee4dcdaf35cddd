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

	"github.com/tandem-cd/tandem/automator/internal/webhook"
	"github.com/tandem-cd/tandem/shared/config"
)

const (
	// hookHeader and hookBody bound how long a caller may take over a request.
	hookHeader = 10 * time.Second
	hookBody   = 30 * time.Second
	// hookDrain bounds how long requests may go on after the end was asked for.
	hookDrain = 5 * time.Second
)

// defaultCaller is who shows the secret of tokenFile.
const defaultCaller = "default"

// callers reads the secrets of those who may call.
func (c WebhookConfig) callers() ([]webhook.Caller, error) {
	var all []webhook.Caller
	if c.TokenFile != "" {
		token, err := config.ReadSecret(c.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("webhook.tokenFile: %w", err)
		}
		all = append(all, webhook.Caller{Name: defaultCaller, Tokens: []string{token}})
	}
	for i, from := range c.Callers {
		caller := webhook.Caller{Name: from.Name, Google: webhook.Google(from.Google)}
		for _, file := range from.TokenFiles {
			token, err := config.ReadSecret(file)
			if err != nil {
				return nil, fmt.Errorf("webhook.callers[%d].tokenFiles: %w", i, err)
			}
			caller.Tokens = append(caller.Tokens, token)
		}
		all = append(all, caller)
	}
	return all, nil
}

// acceptedHook logs a delivery that was taken.
func (a *Automator) acceptedHook(kind, caller string) {
	a.log.Debug("webhook taken", zap.String("kind", kind), zap.String("caller", caller))
}

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

// failedHooks logs what keeps callers from being known.
func (a *Automator) failedHooks(err error) { a.log.Warn("webhook callers not known", zap.Error(err)) }

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
