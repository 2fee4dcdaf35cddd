// Package rpc dials and serves gRPC with the house defaults: identity on every call, faults instead of codes, size
// limits, keepalive that survives load balancers, health and reflection.
package rpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/tandem-cd/tandem/shared/fault"
)

// Limits and times of every connection.
const (
	// MaxMessage bounds one message either way, in bytes. The largest legal one is a 128 KiB chunk, a Sync's status or a
	// page of a list.
	MaxMessage = 4 << 20
	// MaxStreams bounds the calls that one connection has open.
	MaxStreams = 256
	// ServerPing is how often the server pings: below the 60 s after which load balancers cut idle connections.
	ServerPing = 50 * time.Second
	// ClientPing is how often the client pings. Both sides do, because some proxies count only one direction.
	ClientPing = 55 * time.Second
	// PingTimeout is how long a ping may stay unanswered.
	PingTimeout = 10 * time.Second
	// minClientPing is the fastest pinging that the server puts up with.
	minClientPing = 20 * time.Second
	// maxHeaders bounds the headers of a call, in bytes: they are read before anybody knows who calls.
	maxHeaders = 32 << 10
	// drainTimeout is how long open calls may go on after Serve was told to stop.
	drainTimeout = 5 * time.Second
)

// ServerConfig is what a Server needs.
type ServerConfig struct {
	// TLS is the listener's configuration; nil serves without TLS, for in-memory listeners only.
	TLS *tls.Config
	// Identify finds out who calls. It runs once for each call.
	Identify Identify
	// Authorize says whether a caller may call a method, by its full name; nil allows everybody that Identify knows.
	Authorize func(ctx context.Context, id Identity, method string) error
	// Public says which methods, by their full name, may be called by anybody; nil allows none. Identify and Authorize are
	// not asked then, and the handler finds no Caller.
	Public func(method string) bool
	// Calls keeps the open calls, so that they can be ended; nil when nobody will.
	Calls *Calls
	// Metrics count the calls; nil counts for nobody.
	Metrics *Metrics
	// Version is this program's, which answers say.
	Version string
	// Log takes panics of handlers.
	Log *zap.Logger
}

// Server is a gRPC server with the house defaults.
type Server struct {
	// GRPC is where services are registered, before Serve.
	GRPC   *grpc.Server
	health *health.Server
	calls  *Calls
}

// NewServer returns a server with health and reflection registered.
func NewServer(cfg ServerConfig) *Server {
	guard := &guard{cfg: cfg}
	if guard.cfg.Metrics == nil {
		guard.cfg.Metrics = NewMetrics(nil)
	}
	if guard.cfg.Calls == nil {
		guard.cfg.Calls = NewCalls()
	}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage), grpc.MaxConcurrentStreams(MaxStreams),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(guard.unary), grpc.ChainStreamInterceptor(guard.stream),
		grpc.WaitForHandlers(true), grpc.ForceServerCodecV2(codec()),
	}
	options = append(options, transport(cfg.TLS)...)
	s := &Server{GRPC: grpc.NewServer(options...), health: health.NewServer(), calls: guard.cfg.Calls}
	healthv1.RegisterHealthServer(s.GRPC, s.health)
	reflection.Register(s.GRPC)
	return s
}

// Serve accepts connections until the context is done; then it lets open calls end for a moment and closes them.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, s.shutdown)
	defer stop()
	if err := s.GRPC.Serve(s.calls.track(listener)); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	}
	return ctx.Err()
}

func (s *Server) shutdown() {
	s.health.Shutdown()
	force := time.AfterFunc(drainTimeout, s.GRPC.Stop)
	defer force.Stop()
	s.GRPC.GracefulStop()
}

// guard stands before every handler: it identifies, authorises, catches panics and turns faults into statuses.
type guard struct{ cfg ServerConfig }

func (g *guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer g.cfg.Metrics.took(info.FullMethod, time.Now())
	tell(ctx, g.cfg.Version)
	defer func() { err = g.finish(recover(), info.FullMethod, err) }()
	ctx, finish, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	defer finish()
	resp, err = next(ctx, req)
	return resp, ended(ctx, err)
}

func (g *guard) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() { err = g.finish(recover(), info.FullMethod, err) }()
	ctx, finish, err := g.admit(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer finish()
	return ended(ctx, next(srv, &admitted{ServerStream: stream, ctx: ctx}))
}

// ended returns why a call was ended, where a handler only says that its context was done.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && fault.Is(cause, fault.Unauthorized) {
		return cause
	}
	return err
}

// admit lets a call in. What it returns is to be called at the call's end.
func (g *guard) admit(ctx context.Context, method string) (context.Context, func(), error) {
	if g.cfg.Public != nil && g.cfg.Public(method) {
		return ctx, func() {}, nil
	}
	id, err := g.cfg.Identify(ctx)
	if err != nil {
		return nil, nil, err
	}
	// The call is in the list before it is authorised: who is revoked meanwhile is found by one or by the other.
	ctx, finish := g.cfg.Calls.begin(WithCaller(ctx, id), id)
	if g.cfg.Authorize == nil {
		return ctx, finish, nil
	}
	if err := g.cfg.Authorize(ctx, id, method); err != nil {
		finish()
		return nil, nil, err
	}
	return ctx, finish, nil
}

func (g *guard) finish(panicked any, method string, err error) error {
	if panicked != nil {
		g.cfg.Metrics.panics.WithLabelValues().Inc()
		g.cfg.Log.Error("handler panicked", zap.String("method", method), zap.Any("panic", panicked), zap.ByteString("stack", debug.Stack()))
		err = fault.New(fault.Internal, "internal error in %s; the server's log has the details", method)
	}
	err = fault.ToStatus(err)
	g.cfg.Metrics.ended(method, err)
	return err
}

// admitted is a stream whose context knows the caller.
type admitted struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc.ServerStream hands its context out by a method
}

func (s *admitted) Context() context.Context { return s.ctx }
