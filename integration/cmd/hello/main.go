// Command hello is an application that is easy to tell versions of: it answers
// every request with the variable VERSION that its image sets.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// headerTimeout bounds how long a client may take over a request's header.
const headerTimeout = 10 * time.Second

func main() {
	if err := serve(":8080", os.Getenv("VERSION")); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func serve(address, version string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: address, ReadHeaderTimeout: headerTimeout, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, version) },
	)}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })() // ends ListenAndServe, whatever it says
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
