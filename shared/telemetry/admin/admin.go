// Package admin serves what probes and scrapers ask of a process over plain HTTP: /healthz, /readyz and /metrics; and, apart
// from that and on loopback alone, its profiles.
package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// timeout bounds a request, and how long open ones may go on after the end was asked for.
const timeout = 5 * time.Second

// Config is what is served.
type Config struct {
	// Address is where; empty serves nothing.
	Address string
	// Ready returns why the process cannot do its work yet, or nil.
	Ready func() error
	// Metrics is what /metrics shows.
	Metrics prometheus.Gatherer
}

// Serve answers until the context is done; with an empty address it only waits.
func Serve(ctx context.Context, cfg Config) error {
	if cfg.Address == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	return serve(ctx, cfg.Address, &http.Server{Handler: Handler(cfg), ReadHeaderTimeout: timeout, ReadTimeout: timeout})
}

// serve runs a server until the context is done.
func serve(ctx context.Context, address string, server *http.Server) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		_ = server.Shutdown(drain)
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}

// Handler answers the three questions.
func Handler(cfg Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := cfg.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{}))
	return mux
}
