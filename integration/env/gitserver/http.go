package gitserver

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/cgi" //nolint:gosec // Go has kept the Proxy header out since 1.6.3
	"net/http/httptest"
	"os/exec"
	"strings"
)

const (
	// maxPush bounds a request's body, which is held in memory.
	maxPush = 256 << 20

	pushPath  = "/git-receive-pack"
	flushPkt  = "0000"     // all that git's probe for credentials sends
	refPassed = "ok refs/" //nolint:gosec // no credential: in git's report, one for every accepted ref
)

// handler is git http-backend behind the credentials and the gates.
func (s *Server) handler() http.Handler {
	path, err := exec.LookPath("git")
	backend := &cgi.Handler{
		Path:   path,
		Args:   []string{"http-backend"},
		Env:    append(s.git.env(), "GIT_PROJECT_ROOT="+s.git.root, "GIT_HTTP_EXPORT_ALL=1"),
		Stderr: s.opts.Log,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case !s.authenticated(r):
			w.Header().Set("WWW-Authenticate", `Basic realm="gitserver"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			s.serve(w, r, backend)
		}
	})
}

func (s *Server) authenticated(r *http.Request) bool {
	if s.opts.Username == "" && s.opts.Password == "" {
		return true
	}
	username, password, _ := r.BasicAuth()
	got, want := username+"\x00"+password, s.opts.Username+"\x00"+s.opts.Password
	return subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, backend http.Handler) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPush))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// The whole body is read, for two reasons: only then does the server notice
	// that a client has gone, and CGI cannot pass a chunked one on.
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	repo, isPush := strings.CutSuffix(r.URL.Path, pushPath)
	if r.Method != http.MethodPost || !isPush || string(body) == flushPkt {
		backend.ServeHTTP(w, r)
		return
	}
	s.servePush(w, r, strings.TrimSuffix(strings.Trim(repo, "/"), ".git"), backend)
}

func (s *Server) servePush(w http.ResponseWriter, r *http.Request, repo string, backend http.Handler) {
	if err := s.gates.askBefore(r.Context(), repo); err != nil {
		refuse(w, err)
		return
	}
	answer := httptest.NewRecorder()
	backend.ServeHTTP(answer, r)
	if strings.Contains(answer.Body.String(), refPassed) {
		if err := s.gates.askAfter(r.Context(), repo); err != nil {
			panic(http.ErrAbortHandler) // cuts the connection
		}
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // a client that has gone asked for nothing
}

func refuse(w http.ResponseWriter, err error) {
	refusal := &RefusedError{Status: http.StatusForbidden}
	errors.As(err, &refusal)
	maps.Copy(w.Header(), refusal.Header)
	http.Error(w, err.Error(), refusal.Status)
}
