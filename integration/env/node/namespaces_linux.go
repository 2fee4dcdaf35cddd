package node

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tandem-cd/tandem/integration/env/process"
)

const (
	// bridge is the network device that Pods are attached to.
	bridge = "pods0"
	// Gateway is the node's address, on the bridge. The network is inside only.
	Gateway = "10.244.0.1"

	podNetwork = "10.244.0.0/24"
)

//go:embed init.sh
var initScript string

// unshareFlags make namespaces whose processes and mounts end with unshare.
func unshareFlags() []string {
	return []string{"--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child"}
}

// namespaces are held by their first process.
type namespaces struct {
	unshare *process.Process
	first   int // the first process
	net     *os.File
}

func startNamespaces(ctx context.Context, log string) (*namespaces, error) {
	command := append([]string{"unshare"}, unshareFlags()...)
	unshare, err := process.Start(process.Config{
		Name: "namespaces", Log: log, Command: append(command, "bash", "-c", initScript, "init", bridge, Gateway),
	})
	if err != nil {
		return nil, err
	}
	n := &namespaces{unshare: unshare}
	if err := unshare.Ready(ctx, func(context.Context) (err error) { n.first, err = readReady(log); return err }); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	if n.net, err = os.Open(n.path("net")); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return n, nil
}

// readReady reads the number of the first process, which it writes when all is
// ready.
func readReady(log string) (id int, err error) {
	content, err := os.ReadFile(log)
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(string(content), "ready %d\n", &id)
	return id, err
}

// path of one namespace.
func (n *namespaces) path(kind string) string {
	return "/proc/" + strconv.Itoa(n.first) + "/ns/" + kind
}

// enter returns a command line that runs inside.
func (n *namespaces) enter(command ...string) []string {
	return append([]string{
		"nsenter", "--target", strconv.Itoa(n.first), "--mount", "--net", "--pid", "--ipc", "--",
	}, command...)
}

// stop ends every process inside, and returns when the namespaces are gone: the
// kernel lets their first process end after all others.
func (n *namespaces) stop() error {
	select {
	case <-n.unshare.Done(): // killed, and with it the first process, whose number may be another's by now
	default:
		if n.first > 0 {
			_ = syscall.Kill(n.first, syscall.SIGKILL) // it may have ended; unshare waits for it
			<-n.unshare.Done()
		}
	}
	n.unshare.Kill()
	if n.net == nil {
		return nil
	}
	return n.net.Close()
}

// inside calls a function on a thread that is in the network namespace. Sockets
// that it makes belong there, whoever uses them later.
func (n *namespaces) inside(call func() error) (err error) {
	var thread sync.WaitGroup
	thread.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err = unix.Setns(int(n.net.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter the node's network: %w", err)
			return
		}
		err = call()
	})
	thread.Wait()
	return err
}

// dial connects from inside.
func (n *namespaces) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.inside(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// listen listens inside.
func (n *namespaces) listen(ctx context.Context, address string) (listener net.Listener, err error) {
	err = n.inside(func() error {
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp", address)
		return err
	})
	return listener, err
}

func (n *namespaces) listenPacket(ctx context.Context, address string) (conn net.PacketConn, err error) {
	err = n.inside(func() error {
		conn, err = new(net.ListenConfig).ListenPacket(ctx, "udp", address)
		return err
	})
	return conn, err
}
