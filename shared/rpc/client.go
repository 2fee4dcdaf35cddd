package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/tandem-cd/tandem/shared/fault"
)

// unaryTimeout bounds a unary call whose caller set no deadline.
const unaryTimeout = 30 * time.Second

// Dial returns a connection to target that is made on first use and again after every loss. Proxies are honoured as
// HTTPS_PROXY and NO_PROXY say. Errors of calls are faults.
func Dial(target string, tlsConfig *tls.Config, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(tlsConfig)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: ClientPing, Timeout: PingTimeout, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 2, Jitter: 0.5, MaxDelay: time.Minute},
			MinConnectTimeout: 10 * time.Second,
		}),
		grpc.WithChainUnaryInterceptor(unaryFaults), grpc.WithChainStreamInterceptor(streamFaults),
	}
	conn, err := grpc.NewClient(target, append(options, more...)...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", target, err)
	}
	return conn, nil
}

//nolint:revive // grpc.UnaryClientInterceptor has these arguments
func unaryFaults(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, unaryTimeout)
		defer cancel()
	}
	return fault.FromStatus(next(ctx, method, req, reply, conn, opts...))
}

//nolint:revive // grpc.StreamClientInterceptor has these arguments
func streamFaults(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := next(ctx, desc, conn, method, opts...)
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	return &faultStream{stream}, nil
}

// faultStream turns a stream's statuses into faults; io.EOF stays io.EOF.
type faultStream struct{ grpc.ClientStream }

func (s *faultStream) RecvMsg(m any) error { return streamFault(s.ClientStream.RecvMsg(m)) }

func (s *faultStream) SendMsg(m any) error { return streamFault(s.ClientStream.SendMsg(m)) }

func streamFault(err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	return fault.FromStatus(err)
}
