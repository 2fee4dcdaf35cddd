package gitrepo

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A request that a host of HTTP/2 resets was sent, though net/http goes for another connection and gets none.
func TestResetIsNoProofThatNothingWasSent(t *testing.T) {
	t.Parallel()
	host := httptest.NewUnstartedServer(nil)
	host.EnableHTTP2 = true
	host.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) { resetFirst(conn) },
	}
	host.StartTLS()
	defer host.Close()
	trusting, ok := host.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatalf("transport is a %T", host.Client().Transport)
	}
	shown := access{tls: trusting.TLSClientConfig.Clone()}
	s := newSmartHTTP(host.URL)
	defer s.kept.CloseIdle()
	dials := 0
	s.kept.With(shown.tls).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials++; dials > 1 {
			return nil, syscall.ECONNREFUSED
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader("a pack"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.do(request, shown)
	if err == nil {
		finish(answer)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, errNotSent) {
		t.Errorf("do: %v, want that no other connection was to be had, and not errNotSent", err)
	}
	if dials != 2 {
		t.Errorf("%d connections were asked for, want 2", dials)
	}
}

// resetFirst is a host of HTTP/2 (RFC 9113) that reads the first request's headers, resets it and takes no other.
func resetFirst(conn net.Conn) {
	const (
		headers, reset, settings, goAway = 0x1, 0x3, 0x4, 0x7
		protocolError                    = 0x1
	)
	frame := func(kind byte, stream uint32, words ...uint32) []byte {
		out := binary.BigEndian.AppendUint32(nil, uint32(4*len(words))<<8|uint32(kind))
		out = binary.BigEndian.AppendUint32(append(out, 0), stream)
		for _, word := range words {
			out = binary.BigEndian.AppendUint32(out, word)
		}
		return out
	}
	if _, err := conn.Write(frame(settings, 0)); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, conn, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	for {
		var head [9]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		length, kind, stream := binary.BigEndian.Uint32(head[:])>>8, head[3], binary.BigEndian.Uint32(head[5:])
		if _, err := io.CopyN(io.Discard, conn, int64(length)); err != nil {
			return
		}
		if kind != headers {
			continue
		}
		if _, err := conn.Write(append(frame(goAway, 0, stream, 0), frame(reset, stream, protocolError)...)); err != nil {
			return
		}
	}
}
