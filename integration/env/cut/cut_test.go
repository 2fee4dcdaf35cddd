package cut_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-cd/tandem/integration/env/cut"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// echo is a server that says back what it hears.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		tasks.Wait()
	})
	return listener.Addr().String()
}

func start(t *testing.T) *cut.Proxy {
	t.Helper()
	target := echo(t)
	proxy, err := cut.Start(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return proxy
}

func dial(t *testing.T, proxy *cut.Proxy) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", proxy.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// say sends a text and returns what of it comes back.
func say(t *testing.T, conn net.Conn, text string) string {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return hear(t, conn, len(text))
}

func hear(t *testing.T, conn net.Conn, n int) string {
	t.Helper()
	buffer := make([]byte, n)
	if _, err := io.ReadFull(conn, buffer); err != nil {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	return string(buffer)
}

func TestPasses(t *testing.T) {
	t.Parallel()
	proxy := start(t)
	conn := dial(t, proxy)
	if got := say(t, conn, "hello"); got != "hello" {
		t.Errorf("got %q", got)
	}
	if up, down := proxy.Passed(cut.Up), proxy.Passed(cut.Down); up != 5 || down != 5 {
		t.Errorf("passed %d up and %d down, want 5 each", up, down)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v; want the end passed on", rest, err)
	}
}

func TestHoldAndRelease(t *testing.T) {
	t.Parallel()
	proxy := start(t)
	conn := dial(t, proxy)
	proxy.HoldAfter(cut.Down, 3)
	if _, err := io.WriteString(conn, "abcdef"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := proxy.WaitHeld(ctx, cut.Down); err != nil {
		t.Fatal(err)
	}
	if got := hear(t, conn, 3); got != "abc" {
		t.Errorf("before the hold: %q", got)
	}
	if down := proxy.Passed(cut.Down); down != 3 {
		t.Errorf("%d bytes passed while 3 may", down)
	}
	proxy.Release()
	if got := hear(t, conn, 3); got != "def" {
		t.Errorf("after the hold: %q", got)
	}
}

func TestNothingIsHeld(t *testing.T) {
	t.Parallel()
	proxy := start(t)
	proxy.Hold(cut.Up)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if err := proxy.WaitHeld(ctx, cut.Up); !errors.Is(err, enough) {
		t.Errorf("WaitHeld: %v, want that nothing came", err)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	proxy := start(t)
	held, other := dial(t, proxy), dial(t, proxy)
	say(t, held, "a")
	say(t, other, "a")
	proxy.Hold(cut.Down)
	if _, err := io.WriteString(held, "lost"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := proxy.WaitHeld(ctx, cut.Down); err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	for _, conn := range []net.Conn{held, other} {
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("after a cut: %v, want a reset", err)
		}
	}
	proxy.Release()
	if got := say(t, dial(t, proxy), "again"); got != "again" {
		t.Errorf("after a cut: %q", got)
	}
}

func TestAbandon(t *testing.T) {
	t.Parallel()
	proxy := start(t)
	conn := dial(t, proxy)
	say(t, conn, "a")
	proxy.Abandon()
	if _, err := io.WriteString(conn, "lost"); err != nil {
		t.Fatal(err)
	}
	if got := say(t, dial(t, proxy), "again"); got != "again" {
		t.Errorf("a new connection: %q", got)
	}
	proxy.Cut()
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an abandoned connection: %v, want silence", err)
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	proxy := start(t)
	proxy.Refuse()
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", proxy.Address()); err == nil { // else it was quick
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("a refused connection was answered")
		}
	}
	proxy.Release()
	if got := say(t, dial(t, proxy), "again"); got != "again" {
		t.Errorf("after Release: %q", got)
	}
}

// Lower bounds only: a loaded machine is slower, never faster.
func TestShape(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		shape  cut.Shape
		least  time.Duration
	}{
		"Delay":    {reason: "both ways are delayed", shape: cut.Shape{Delay: 50 * time.Millisecond}, least: 100 * time.Millisecond},
		"Throttle": {reason: "1,000 bytes at 10,000 a second, both ways", shape: cut.Shape{Rate: 10_000}, least: 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := start(t)
			conn := dial(t, proxy)
			proxy.Shape(tc.shape)
			began := time.Now()
			text := string(make([]byte, 1000))
			if got := say(t, conn, text); got != text {
				t.Error("what came back is not what was sent")
			}
			if took := time.Since(began); took < tc.least {
				t.Errorf("%s: took %s, want %s at least", tc.reason, took, tc.least)
			}
		})
	}
}

// Bytes of a connection keep their order whatever the jitter; those of two connections do not.
func TestJitterReordersBetweenConnections(t *testing.T) {
	t.Parallel()
	proxy := start(t)
	proxy.Shape(cut.Shape{Jitter: 20 * time.Millisecond})
	conns := []net.Conn{dial(t, proxy), dial(t, proxy)}
	arrivals := make(chan int, 200)
	var readers sync.WaitGroup
	for which, conn := range conns {
		readers.Go(func() {
			for want := range 50 {
				buffer := make([]byte, 1)
				if _, err := io.ReadFull(conn, buffer); err != nil || int(buffer[0]) != want {
					t.Errorf("connection %d: got %d, %v, want %d", which, buffer[0], err, want)
					return
				}
				arrivals <- want*2 + which
			}
		})
	}
	for i := range byte(50) {
		for _, conn := range conns {
			if _, err := conn.Write([]byte{i}); err != nil {
				t.Fatal(err)
			}
		}
	}
	readers.Wait()
	close(arrivals)
	overtaken, last := 0, -1
	for at := range arrivals {
		if at < last {
			overtaken++
		}
		last = at
	}
	if overtaken == 0 {
		t.Error("of 100 messages on two connections none overtook another")
	}
}
