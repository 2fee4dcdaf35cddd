package relaybench

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tandem-cd/tandem/shared/rpc"
)

// HealthServer is the baseline's server: gRPC's own health service with gRPC's defaults over mutual TLS 1.3, and a
// control address that turns the status over when it is asked. It serves until the context is done.
func HealthServer(ctx context.Context, listen, control string, files rpc.TLSFiles) error {
	config, err := files.Server()
	if err != nil {
		return err
	}
	service := health.NewServer()
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	healthv1.RegisterHealthServer(server, service)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	turn := &http.Server{Addr: control, ReadHeaderTimeout: time.Second, Handler: turnOver(service)}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Serve(listener) })
	group.Go(func() error {
		if err := turn.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error { <-ctx.Done(); server.Stop(); return turn.Close() })
	return group.Wait()
}

func turnOver(service *health.Server) http.Handler {
	var down atomic.Bool
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		status := healthv1.HealthCheckResponse_NOT_SERVING
		if down.Load() {
			status = healthv1.HealthCheckResponse_SERVING
		}
		down.Store(!down.Load())
		service.SetServingStatus("", status)
	})
}
