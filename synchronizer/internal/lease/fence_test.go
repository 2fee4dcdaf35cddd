package lease

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// peer accepts one connection.
func peer(t *testing.T) (address string, accepted <-chan net.Conn) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	conns := make(chan net.Conn, 1)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			conns <- conn
		}
	}()
	return listener.Addr().String(), conns
}

func TestAFenceThatIsShutLetsNothingOut(t *testing.T) {
	t.Parallel()
	fence := &Fence{}
	address, accepted := peer(t)
	if _, err := fence.Dial(t.Context(), "tcp", address); !errors.Is(err, ErrLost) {
		t.Errorf("Dial before it is open: got %v, want ErrLost", err)
	}
	(<-accepted).Close()

	fence.extend(time.Now().Add(time.Hour))
	address, accepted = peer(t)
	conn, err := fence.Dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	there := <-accepted
	defer there.Close()
	if _, err := io.ReadFull(there, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}

	fence.extend(time.Now()) // the time is up, and nobody has noticed yet
	if _, err := conn.Write([]byte("b")); !errors.Is(err, ErrLost) {
		t.Errorf("Write when the time is up: got %v, want ErrLost", err)
	}
	fence.shut()
	if _, err := there.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer reads %v, want a reset", err)
	}
}

func TestAClosedConnectionIsForgotten(t *testing.T) {
	t.Parallel()
	fence := &Fence{}
	fence.extend(time.Now().Add(time.Hour))
	address, accepted := peer(t)
	conn, err := fence.Dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	(<-accepted).Close()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if len(fence.conns) != 0 {
		t.Error("it is kept")
	}
}

func TestAClockThatIsSetClosesTheFence(t *testing.T) {
	t.Parallel()
	fence := &Fence{}
	fence.extend(time.Now().Add(-time.Minute).Round(0)) // of the wall clock alone
	if fence.Open() {
		t.Error("it is open")
	}
}
