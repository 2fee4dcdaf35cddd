package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newNode(t *testing.T) *Node {
	t.Helper()
	if testing.Short() {
		t.Skip("makes namespaces and cgroups; make integration does it")
	}
	if err := Check(t.Context()); err != nil {
		t.Skip(err)
	}
	n, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func stop(t *testing.T, n *Node) {
	t.Helper()
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// TestExpose: a server on loopback is reached from inside, by the node's address
// and by its loopback, and through Publish from outside again.
func TestExpose(t *testing.T) {
	n := newNode(t)
	defer stop(t, n)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	exposed, err := n.Expose(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	published, err := n.Publish(t.Context(), exposed)
	if err != nil {
		t.Fatal(err)
	}
	inside := &http.Client{Transport: &http.Transport{DialContext: n.Dial, DisableKeepAlives: true}}
	outside := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for url, client := range map[string]*http.Client{"http://" + exposed: inside, "http://" + address: inside, "http://" + published: outside} {
		if said, err := get(client, url); err != nil || said != "hello" {
			t.Errorf("GET %s: %q, %v", url, said, err)
		}
	}
	if said, err := get(outside, "http://"+exposed); err == nil {
		t.Errorf("GET %s from outside: %q, want that the network is inside only", exposed, said)
	}
}

func get(client *http.Client, url string) (string, error) {
	client.Timeout = dialTimeout
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	return string(said), err
}

// TestEgress: the API server's way in.
func TestEgress(t *testing.T) {
	n := newNode(t)
	defer stop(t, n)
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	exposed, err := n.Expose(t.Context(), strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{exposed: "HTTP/1.1 200 ", Gateway + ":1": "HTTP/1.1 502 "} {
		conn, err := net.Dial("unix", n.path("egress.sock"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", target)
		said := make([]byte, len(want))
		if _, err := io.ReadFull(conn, said); err != nil || string(said) != want {
			t.Errorf("CONNECT %s: %q, %v, want %q", target, said, err, want)
		}
		_ = conn.Close()
	}
}

// TestKilled: when the process that made a node dies, nothing inside goes on, and
// the next removes what is left.
func TestKilled(t *testing.T) {
	n := newNode(t)
	sleeper, err := n.run("sleeper", "sleep", "600")
	if err != nil {
		t.Fatal(err)
	}
	// As the kernel does to it when this process dies.
	if err := syscall.Kill(n.namespaces.unshare.ID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-sleeper.Done()
	n.relays.stop()
	if err := errors.Join(n.namespaces.stop(), n.close()); err != nil {
		t.Fatal(err)
	}
	age(t, n.home)
	if err := sweep(t.Context()); err != nil {
		t.Fatalf("sweep(...): %v", err)
	}
	left, err := filepath.Glob(filepath.Join(cgroupMount, "*", n.cgroup()))
	if _, statErr := os.Stat(n.dir); err != nil || len(left) > 0 || !os.IsNotExist(statErr) {
		t.Errorf("left behind: %v, %v, %v", left, err, statErr)
	}
}
