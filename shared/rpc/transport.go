package rpc

import (
	"container/list"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"github.com/tandem-cd/tandem/shared/fault"
)

// What connections may cost a server.
const (
	// MaxConnections bounds the connections of one caller. A further one closes its oldest, so that a caller whose old
	// connections died without a word gets in.
	MaxConnections = 64
	// MaxCalls bounds the open calls of one caller over all its connections; further ones are refused. A synchronizer
	// has three streams and one transfer for each source that changed.
	MaxCalls = 512
	// maxHandshakes bounds the connections of which nobody knows yet whose they are. A further one closes the oldest:
	// who means it is done within milliseconds, and who stalls is the one that goes.
	maxHandshakes = 4096
	// maxAnonymous bounds the connections of callers without a certificate together, as MaxConnections does.
	maxAnonymous = 1024
	// handshakeTimeout is how long a connection may take until calls can be made on it.
	handshakeTimeout = 10 * time.Second
	// idleTimeout is how long a connection without a call is kept.
	idleTimeout = 5 * time.Minute
	// streamWindow and connWindow bound what a caller has sent and nobody has read yet, in bytes. By default gRPC lets them
	// grow to 16 MiB a connection.
	streamWindow, connWindow = 64 << 10, 256 << 10
	// plainReadBuffer is the buffer, in bytes, of a connection without TLS. TLS has its own.
	plainReadBuffer = 2 << 10
	// writeBuffer is what a connection borrows for a write, in bytes.
	writeBuffer = 8 << 10
)

// http2 is the protocol of gRPC as TLS names it.
const http2 = "h2"

// transport returns the options that bound what a connection costs.
func transport(config *tls.Config) []grpc.ServerOption {
	gate := newGate(config)
	quota := &quota{open: map[string]int{}, gate: gate}
	options := []grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: ServerPing, Timeout: PingTimeout, MaxConnectionIdle: idleTimeout}),
		grpc.ConnectionTimeout(handshakeTimeout), grpc.MaxHeaderListSize(maxHeaders),
		grpc.ReadBufferSize(plainReadBuffer), grpc.WriteBufferSize(writeBuffer),
		grpc.StaticStreamWindowSize(streamWindow), grpc.StaticConnWindowSize(connWindow),
		grpc.ChainUnaryInterceptor(quota.unary), grpc.ChainStreamInterceptor(quota.stream),
	}
	if config != nil {
		options = append(options, grpc.Creds(gate), grpc.ReadBufferSize(0))
	}
	return options
}

// quota counts the open calls of each caller. It runs after the guard, which knows who calls.
type quota struct {
	gate *gate
	mu   sync.Mutex
	open map[string]int
}

func (q *quota) enter(ctx context.Context) (leave func(), err error) {
	caller, ok := Caller(ctx)
	if !ok {
		return func() {}, nil
	}
	key := caller.String()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open[key] >= MaxCalls {
		return nil, fault.New(fault.Conflict, "%s has %d calls open, the most that one caller may have; end some first", caller, MaxCalls)
	}
	q.open[key]++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.open[key]--; q.open[key] == 0 {
			delete(q.open, key)
		}
	}, nil
}

func (q *quota) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	leave, err := q.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return next(ctx, req)
}

func (q *quota) stream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	leave, err := q.enter(stream.Context())
	if err != nil {
		return err
	}
	defer leave()
	return next(srv, &admitted{ServerStream: stream, ctx: context.WithValue(stream.Context(), hangupKey{}, q.gate)})
}

type hangupKey struct{}

// Hangup closes the connection that a call came on, with everything that is on it. It is for handlers that wait for a
// client which does not read: nothing else ends that. It does nothing outside of a call over TLS.
func Hangup(ctx context.Context) {
	gate, ok := ctx.Value(hangupKey{}).(*gate)
	caller, known := peer.FromContext(ctx)
	if !ok || !known {
		return
	}
	gate.mu.Lock()
	conn := gate.byAddress[caller.Addr.String()]
	gate.mu.Unlock()
	if conn != nil {
		_ = conn.SetDeadline(time.Unix(1, 0)) // whoever reads or writes it fails and closes it
	}
}

// gate bounds connections before and after their handshake.
type gate struct {
	credentials.TransportCredentials
	config    *tls.Config
	strangers *crowd
	mu        sync.Mutex
	known     map[string]*crowd
	byAddress map[string]net.Conn // of the peer
}

func newGate(config *tls.Config) *gate {
	return &gate{TransportCredentials: credentials.NewTLS(config), config: config, strangers: newCrowd(maxHandshakes), known: map[string]*crowd{}, byAddress: map[string]net.Conn{}}
}

// Clone returns the same gate: its counts are the listener's.
func (g *gate) Clone() credentials.TransportCredentials { return g }

// ServerHandshake finds out who connects, and makes room for it.
func (g *gate) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	leave := g.strangers.enter(raw)
	conn, info, err := handshake(raw, g.config)
	leave()
	if err != nil {
		return nil, nil, err
	}
	return &admittedConn{Conn: conn, leave: g.admit(nameOf(info), conn)}, info, nil
}

// handshake does what gRPC's own does, which has every connection keep a copy of the configuration besides.
func handshake(raw net.Conn, config *tls.Config) (net.Conn, credentials.TLSInfo, error) {
	conn := tls.Server(raw, config)
	if err := conn.Handshake(); err != nil { //nolint:noctx // grpc.ConnectionTimeout bounds it
		_ = raw.Close()
		return nil, credentials.TLSInfo{}, err
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != http2 {
		_ = conn.Close()
		return nil, credentials.TLSInfo{}, fmt.Errorf("the client speaks %q, not %q", state.NegotiatedProtocol, http2)
	}
	return conn, credentials.TLSInfo{State: state, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// nameOf is the caller that a handshake proved, or nothing.
func nameOf(info credentials.TLSInfo) string {
	if len(info.State.VerifiedChains) == 0 {
		return ""
	}
	for _, uri := range info.State.VerifiedChains[0][0].URIs {
		if uri.Scheme == uriScheme {
			return uri.String()
		}
	}
	return ""
}

func (g *gate) admit(name string, conn net.Conn) (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	crowd := g.known[name]
	if crowd == nil {
		most := MaxConnections
		if name == "" {
			most = maxAnonymous
		}
		crowd = newCrowd(most)
		g.known[name] = crowd
	}
	out := crowd.enter(conn)
	address := conn.RemoteAddr().String()
	g.byAddress[address] = conn
	return func() {
		out()
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.byAddress[address] == conn {
			delete(g.byAddress, address)
		}
		if crowd.empty() && g.known[name] == crowd {
			delete(g.known, name)
		}
	}
}

// admittedConn leaves its crowd when it is closed.
type admittedConn struct {
	net.Conn
	leave func()
}

func (c *admittedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// crowd is a bounded number of connections, oldest first.
type crowd struct {
	most  int
	mu    sync.Mutex
	order *list.List // of net.Conn
}

func newCrowd(most int) *crowd { return &crowd{most: most, order: list.New()} }

// enter adds a connection; when there are too many, the oldest is closed. leave may be called twice.
func (c *crowd) enter(conn net.Conn) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.order.PushBack(conn)
	if c.order.Len() > c.most {
		oldest, ok := c.order.Remove(c.order.Front()).(net.Conn)
		if ok {
			_ = oldest.SetDeadline(time.Unix(1, 0)) // whoever reads it fails and closes it
		}
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.order.Remove(at) // does nothing when it is gone
	}
}

func (c *crowd) empty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len() == 0
}
