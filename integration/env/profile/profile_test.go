package profile_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/pprof"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/integration/env/profile"
)

// gzipMagic begins every profile.
const gzipMagic = "\x1f\x8b"

func TestOfThisProgram(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.Handle("GET /debug/pprof/heap", pprof.Handler("heap"))
	server := httptest.NewServer(mux)
	defer server.Close()
	processor, memory := filepath.Join(t.TempDir(), "processor"), filepath.Join(t.TempDir(), "memory")
	if err := profile.Processor(t.Context(), server.Client(), server.URL, time.Second, processor); err != nil {
		t.Fatal(err)
	}
	if err := profile.Memory(t.Context(), server.Client(), server.URL, memory); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{processor, memory} {
		content, err := os.ReadFile(file)
		if err != nil || len(content) < len(gzipMagic) || string(content[:len(gzipMagic)]) != gzipMagic {
			t.Errorf("%s has %d bytes that are no profile: %v", filepath.Base(file), len(content), err)
		}
	}
}

func TestNoneIsServed(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	file := filepath.Join(t.TempDir(), "profile")
	if err := profile.Memory(t.Context(), server.Client(), server.URL, file); err == nil {
		t.Error("Memory: no error of a program that serves no profiles")
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file was left behind")
	}
}
