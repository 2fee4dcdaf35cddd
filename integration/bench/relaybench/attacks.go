package relaybench

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// attack is something a synchronizer with a valid certificate, or a stranger, does until the context is done. It says
// what it achieved.
type attack struct {
	name string
	run  func(context.Context, *mallory) string
}

func attacks() []attack {
	return []attack{
		{"never reads (streams, transfers)", neverReads},
		{"floods status", floodStatus},
		{"floods events with false ids", floodEvents},
		{"claims other paths and clusters", claims},
		{"oversize messages and headers", oversize},
		{"thousands of streams", manyStreams},
		{"thousands of connections", manyConnections},
		{"stalled handshakes", stalledHandshakes},
		{"10,000-commit chains in a loop", longChains},
		{"transfers cancelled half way", cancelled},
	}
}

func quiet(ctx context.Context, _ *mallory) string {
	<-ctx.Done()
	return "nothing"
}

// mallory holds a certificate and the addresses.
type mallory struct {
	world *world
	tls   *tls.Config
	conn  *grpc.ClientConn
	api   relayv1.RelayServiceClient
	epoch atomic.Int64
}

func newMallory(w *world) (*mallory, error) {
	config, err := w.identity(attacker)
	if err != nil {
		return nil, err
	}
	m := &mallory{world: w, tls: config}
	if m.conn, err = m.dial(); err != nil {
		return nil, err
	}
	m.api = relayv1.NewRelayServiceClient(m.conn)
	return m, nil
}

func (m *mallory) dial() (*grpc.ClientConn, error) {
	return rpc.Dial("passthrough:///"+m.world.listen, m.tls,
		grpc.WithInitialWindowSize(64<<10), grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20)))
}

func (m *mallory) close() { _ = m.conn.Close() }

func (m *mallory) hello(replica string) *relayv1.Hello {
	return &relayv1.Hello{Cluster: attacker, Replica: replica, Epoch: m.epoch.Add(1), Protocol: protocol}
}

func (m *mallory) paths() []string { return []string{"base", "clusters/" + attacker} }

func (m *mallory) source() *revisionv1.Source {
	return &revisionv1.Source{Repository: repository, Ref: "refs/heads/main"}
}

// parallel runs fn in a number of loops until the context is done, and counts.
func parallel(ctx context.Context, loops int, fn func(context.Context) error) (done, refused int64) {
	var good, bad atomic.Int64
	group := new(errgroup.Group)
	for range loops {
		group.Go(func() error {
			for ctx.Err() == nil {
				if err := fn(ctx); err != nil {
					bad.Add(1)
				} else {
					good.Add(1)
				}
			}
			return nil
		})
	}
	_ = group.Wait() // it returns no error
	return good.Load(), bad.Load()
}

// neverReads opens streams and transfers and reads none of them.
func neverReads(ctx context.Context, m *mallory) string {
	opened := 0
	for i := range 64 {
		if _, err := m.api.Follow(ctx, &relayv1.FollowRequest{Hello: m.hello(fmt.Sprint(i)), Sources: []*relayv1.FollowedSource{{Source: m.source(), Paths: m.paths()}}}); err == nil {
			opened++
		}
		if _, err := m.api.Fetch(ctx, m.chain()); err == nil {
			opened++
		}
	}
	<-ctx.Done()
	return fmt.Sprintf("%d streams opened and not read", opened)
}

// chain asks for the longest chain there is.
func (m *mallory) chain() *relayv1.FetchRequest {
	return &relayv1.FetchRequest{Hello: m.hello("a"), Source: m.source(), Want: m.world.newest, Held: m.world.oldest, Paths: m.paths()}
}

func (m *mallory) report(ctx context.Context, replica string) (reportStream, error) {
	stream, err := m.api.Report(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(&relayv1.ReportRequest{Message: &relayv1.ReportRequest_Hello{Hello: m.hello(replica)}}); err != nil {
		return nil, err
	}
	_, err = stream.Recv()
	return stream, err
}

// flood sends messages as fast as it may.
func flood(ctx context.Context, m *mallory, next func(n int) *relayv1.ReportRequest) string {
	var sent atomic.Int64
	group := new(errgroup.Group)
	for i := range 8 {
		group.Go(func() error {
			for ctx.Err() == nil {
				stream, err := m.report(ctx, fmt.Sprint(i))
				for n := 0; err == nil; n++ {
					if err = stream.Send(next(n)); err == nil {
						sent.Add(1)
					}
				}
			}
			return nil
		})
	}
	began := time.Now()
	_ = group.Wait() // it returns no error
	return fmt.Sprintf("%.0f messages a second sent, most of them unread", float64(sent.Load())/time.Since(began).Seconds())
}

func floodStatus(ctx context.Context, m *mallory) string {
	return flood(ctx, m, func(n int) *relayv1.ReportRequest {
		return &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Sync{Sync: &statusv1.Sync{
			Cluster: attacker, Namespace: "n", Name: fmt.Sprint(n % 10_000), Path: strings.Repeat("x", n%1000),
		}}}
	})
}

func floodEvents(ctx context.Context, m *mallory) string {
	return flood(ctx, m, func(int) *relayv1.ReportRequest {
		id := make([]byte, 32)
		_, _ = rand.Read(id) // it never fails
		return &relayv1.ReportRequest{Message: &relayv1.ReportRequest_Event{Event: &statusv1.Event{
			Id: id, Cluster: attacker, Time: timestamppb.Now(), State: statusv1.EventState_EVENT_STATE_HEALTHY, SyncName: "x",
		}}}
	})
}

// claims asks for what is another's, and speaks for others.
func claims(ctx context.Context, m *mallory) string {
	got, refused := parallel(ctx, 8, func(ctx context.Context) error {
		for _, try := range []func(context.Context) error{
			func(ctx context.Context) error {
				return m.drainFetch(ctx, &relayv1.FetchRequest{Hello: m.hello("a"), Source: m.source(), Want: m.world.newest, Paths: []string{"clusters/c0001"}})
			},
			func(ctx context.Context) error {
				return m.drainFetch(ctx, &relayv1.FetchRequest{Hello: &relayv1.Hello{Cluster: "c0001", Replica: "a", Protocol: protocol}, Source: m.source(), Want: m.world.newest, Paths: []string{"clusters/c0001"}})
			},
			func(ctx context.Context) error {
				stream, err := m.report(ctx, "z")
				if err == nil {
					err = stream.Send(&relayv1.ReportRequest{Message: &relayv1.ReportRequest_Sync{Sync: &statusv1.Sync{Cluster: "c0001"}}})
				}
				if err == nil {
					_, err = stream.Recv()
				}
				return err
			},
		} {
			if err := try(ctx); err == nil {
				return nil
			}
		}
		return errRefused
	})
	return fmt.Sprintf("%d rounds refused, %d granted", refused, got)
}

var errRefused = errors.New("refused")

func (m *mallory) drainFetch(ctx context.Context, request *relayv1.FetchRequest) error {
	stream, err := m.api.Fetch(ctx, request)
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// oversize sends messages and headers that are larger than anybody reads.
func oversize(ctx context.Context, m *mallory) string {
	large := strings.Repeat("x", 16<<20)
	header := metadata.AppendToOutgoingContext(ctx, "x-large", large[:1<<20])
	got, refused := parallel(ctx, 4, func(ctx context.Context) error {
		first := m.drainFetch(ctx, &relayv1.FetchRequest{Hello: m.hello(large), Source: m.source(), Want: m.world.newest, Paths: m.paths()})
		second := m.drainFetch(header, &relayv1.FetchRequest{Hello: m.hello("a"), Source: m.source(), Want: m.world.newest, Paths: m.paths()})
		if first != nil && second != nil {
			return errRefused
		}
		return nil
	})
	return fmt.Sprintf("%d pairs refused, %d granted", refused, got)
}

// manyStreams opens as many streams as it can on a few connections.
func manyStreams(ctx context.Context, m *mallory) string {
	var open atomic.Int64
	group := new(errgroup.Group)
	for c := range 16 {
		group.Go(func() error {
			conn, err := m.dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			api := relayv1.NewRelayServiceClient(conn)
			streams := new(errgroup.Group)
			for i := range 250 {
				streams.Go(func() error {
					stream, err := api.Follow(ctx, &relayv1.FollowRequest{Hello: m.hello(fmt.Sprintf("%d-%d", c, i))})
					if err == nil {
						_, err = stream.Recv()
					}
					if err == nil {
						open.Add(1)
						<-ctx.Done()
					}
					return nil
				})
			}
			return streams.Wait()
		})
	}
	_ = group.Wait()
	return fmt.Sprintf("%d of 4,000 streams stayed open", open.Load())
}

// manyConnections opens connections with a valid certificate.
func manyConnections(ctx context.Context, m *mallory) string {
	got, refused := parallel(ctx, 8, func(ctx context.Context) error {
		raw, err := (&tls.Dialer{Config: withProtocol(m.tls)}).DialContext(ctx, "tcp", m.world.listen)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { _ = raw.Close() })
		return pause(ctx, 5*time.Millisecond)
	})
	return fmt.Sprintf("%d connections made, %d refused", got, refused)
}

func withProtocol(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	return config
}

// stalledHandshakes opens connections and says nothing.
func stalledHandshakes(ctx context.Context, m *mallory) string {
	got, refused := parallel(ctx, 8, func(ctx context.Context) error {
		raw, err := new(net.Dialer).DialContext(ctx, "tcp", m.world.listen)
		if err != nil {
			return err
		}
		_, _ = raw.Write([]byte{22, 3, 1}) // the beginning of a hello
		context.AfterFunc(ctx, func() { _ = raw.Close() })
		return pause(ctx, 2*time.Millisecond)
	})
	return fmt.Sprintf("%d connections stalled, %d refused", got, refused)
}

// longChains asks for the longest chain again and again.
func longChains(ctx context.Context, m *mallory) string {
	got, refused := parallel(ctx, 16, func(ctx context.Context) error { return m.drainFetch(ctx, m.chain()) })
	return fmt.Sprintf("%d chains fetched, %d refused or cut short", got, refused)
}

// cancelled asks for the longest chain and goes away after the first message.
func cancelled(ctx context.Context, m *mallory) string {
	got, refused := parallel(ctx, 16, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := m.api.Fetch(ctx, m.chain())
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	})
	return fmt.Sprintf("%d transfers left half way, %d refused", got, refused)
}
