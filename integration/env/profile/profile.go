// Package profile asks a Go program for a profile of itself, and keeps it for go tool pprof.
package profile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

var errNone = errors.New("no profile")

// Processor writes how a program spends its processor in a span of time, of whole seconds, to a file. The program serves
// net/http/pprof at a base URL.
func Processor(ctx context.Context, client *http.Client, base string, span time.Duration, file string) error {
	url := fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", base, int(span.Seconds()))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return save(client, request, file)
}

// Memory writes what a program's heap holds, after a collection, to a file.
func Memory(ctx context.Context, client *http.Client, base, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/debug/pprof/heap?gc=1", nil)
	if err != nil {
		return err
	}
	return save(client, request, file)
}

func save(client *http.Client, request *http.Request, file string) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%w at %s: %s", errNone, request.URL.Path, response.Status)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, response.Body)
	return errors.Join(err, out.Close())
}
