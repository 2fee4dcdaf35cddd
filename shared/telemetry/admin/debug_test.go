package admin_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/telemetry/admin"
)

func TestCheckDebug(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "127.0.0.1:6060", "[::1]:6060", "127.8.8.8:1"} {
		if err := admin.CheckDebug(address); err != nil {
			t.Errorf("CheckDebug(%q): %v", address, err)
		}
	}
	for _, address := range []string{":6060", "0.0.0.0:6060", "[::]:6060", "10.0.0.1:6060", "localhost:6060", "127.0.0.1", "example.com:1"} {
		if admin.CheckDebug(address) == nil {
			t.Errorf("CheckDebug(%q): nil, want it refused", address)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := admin.ServeDebug(ctx, address); err == nil || !strings.Contains(err.Error(), "address") {
			t.Errorf("ServeDebug(%q): %v, want it refused", address, err)
		}
	}
}

func TestServeDebug(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { _ = admin.ServeDebug(ctx, address) })
	defer serving.Wait()
	defer cancel()
	deadline := time.After(30 * time.Second)
	for {
		response, err := http.Get("http://" + address + "/debug/pprof/goroutine?debug=1")
		if err == nil {
			text, err := io.ReadAll(response.Body)
			if err != nil || response.Body.Close() != nil || !strings.Contains(string(text), "goroutine profile: total") {
				t.Errorf("GET: %s, %v", text, err)
			}
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
