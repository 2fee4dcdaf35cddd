package story

import (
	"context"
	"net"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// silentServer starts a server that takes connections and never says anything. Files of the script name it as ${SILENT}.
func silentServer(s *Teller, _ *testscript.TestScript, _ []string) error {
	listener, err := new(net.ListenConfig).Listen(s.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	var serving sync.WaitGroup
	serving.Go(func() { takeAndKeep(ctx, listener) })
	s.silent = listener.Addr().String()
	s.silence = func() {
		cancel()
		_ = listener.Close()
		serving.Wait()
	}
	return nil
}

// takeAndKeep keeps connections open until the context is done.
func takeAndKeep(ctx context.Context, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // closed
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
	}
}
