// Package gitrepotest serves Git repositories over HTTP to tests: the real git, with a switch for everything that a host
// or the network can do wrong.
package gitrepotest

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/cgi" //nolint:gosec // the danger was in Go 1.6
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
)

// Server is a Git host with one bare repository.
type Server struct {
	// Dir is the bare repository.
	Dir string

	server *httptest.Server

	mu        sync.Mutex
	password  string
	intercept func(w http.ResponseWriter, req *http.Request, next http.Handler)
}

// New starts a host with one empty repository, which ends with the test.
func New(tb testing.TB, initArgs ...string) *Server {
	tb.Helper()
	s := prepare(tb, initArgs)
	s.server.Start()
	return s
}

// NewTLS starts a host that speaks TLS with one empty repository.
func NewTLS(tb testing.TB, config *tls.Config, initArgs ...string) *Server {
	tb.Helper()
	s := prepare(tb, initArgs)
	s.server.TLS = config
	s.server.Config.ErrorLog = zap.NewStdLog(zap.NewNop()) // handshakes that fail are what tests are about
	s.server.StartTLS()
	return s
}

func prepare(tb testing.TB, initArgs []string) *Server {
	tb.Helper()
	s := &Server{Dir: filepath.Join(tb.TempDir(), "repo.git")}
	args := append([]string{"init", "--quiet", "--bare", "--initial-branch=main"}, initArgs...)
	Git(tb, "", append(args, s.Dir)...)
	Git(tb, s.Dir, "config", "http.receivepack", "true")
	Git(tb, s.Dir, "config", "gc.auto", "0")
	execPath := strings.TrimSpace(Git(tb, "", "--exec-path"))
	backend := &cgi.Handler{
		Path: filepath.Join(execPath, "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + filepath.Dir(s.Dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_CONFIG_GLOBAL=/dev/null", "REMOTE_USER=tester",
		},
		InheritEnv: []string{"PATH"},
		Stderr:     io.Discard,
	}
	s.server = httptest.NewUnstartedServer(s.handler(backend))
	tb.Cleanup(s.server.Close)
	return s
}

// URL is the repository's address.
func (s *Server) URL() string { return s.server.URL + "/" + filepath.Base(s.Dir) }

// RequirePassword makes the host refuse requests that do not carry the password; the empty one lets everybody in.
func (s *Server) RequirePassword(password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.password = password
}

// Intercept puts f before the host; nil takes it away.
func (s *Server) Intercept(f func(w http.ResponseWriter, req *http.Request, next http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

func (s *Server) handler(backend http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.mu.Lock()
		password, intercept := s.password, s.intercept
		s.mu.Unlock()
		if _, given, _ := req.BasicAuth(); password != "" && given != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		// The CGI protocol needs to know the length, and git sends larger packs without.
		if req.ContentLength < 0 {
			req.Header.Del("Content-Length")
		}
		if intercept != nil {
			intercept(w, req, backend)
			return
		}
		backend.ServeHTTP(w, req)
	})
}

// IsPush tells whether a request carries a push.
func IsPush(req *http.Request) bool {
	return req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/git-receive-pack")
}

// CutAfter lets the host do what it is asked and then cuts the connection instead of answering.
func CutAfter(w http.ResponseWriter, req *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), req)
	Cut(w)
}

// Stall takes the request and never answers.
func Stall(_ http.ResponseWriter, req *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, req.Body) // until then the server does not see that the caller has gone
	<-req.Context().Done()
}

// Cut cuts the connection.
func Cut(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	if conn, _, err := hijacker.Hijack(); err == nil {
		_ = conn.Close()
	}
}

// Hook installs a shell script as a hook of the host; an empty one removes it.
func (s *Server) Hook(tb testing.TB, name, script string) {
	tb.Helper()
	path := filepath.Join(s.Dir, "hooks", name)
	if script == "" {
		_ = os.Remove(path)
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil { //nolint:gosec // it is run
		tb.Fatal(err)
	}
}

// Git runs git as a person would, in dir, and returns what it prints.
func Git(tb testing.TB, dir string, args ...string) string {
	tb.Helper()
	out, err := git(tb.Context(), dir, nil, args...)
	if err != nil {
		tb.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func git(ctx context.Context, dir string, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Stdin = dir, stdin
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com",
		"GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com",
	)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), &Error{Err: err, Messages: stderr.String()}
	}
	return string(out), nil
}

// Error is a git command that failed.
type Error struct {
	Err      error
	Messages string
}

func (e *Error) Error() string { return e.Err.Error() + ": " + e.Messages }

func (e *Error) Unwrap() error { return e.Err }
