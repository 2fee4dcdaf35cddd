package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// longestProfile bounds how long a profile may be taken.
const longestProfile = 2 * time.Minute

// CheckDebug returns why profiles may not be served at an address; nil for the empty one, which serves none. Profiles tell
// what a process is at and cost it time, and nobody is asked who he is: only who is on the machine, or may forward a port
// of the Pod, may have them.
func CheckDebug(address string) error {
	if address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not an address such as 127.0.0.1:6060", address)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%q is not a loopback address such as 127.0.0.1:6060; reach it by kubectl port-forward", address)
	}
	return nil
}

// ServeDebug serves the profiles of net/http/pprof under /debug/pprof until the context is done; with an empty address it
// only waits. An address that is not loopback is refused.
func ServeDebug(ctx context.Context, address string) error {
	if err := CheckDebug(address); err != nil {
		return err
	}
	if address == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return serve(ctx, address, &http.Server{Handler: mux, ReadHeaderTimeout: timeout, ReadTimeout: timeout, WriteTimeout: longestProfile})
}
