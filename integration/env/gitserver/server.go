package gitserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	loopbackAddress = "127.0.0.1:0"
	// stopTimeout bounds how long Stop waits for requests to end by themselves.
	stopTimeout = 5 * time.Second
	// headerTimeout bounds how long a client may take over a request's header.
	headerTimeout = 30 * time.Second
)

// Options of a server. The zero value serves a temporary folder over HTTP to
// anybody, and over SSH to nobody.
type Options struct {
	// Dir holds the repositories; a temporary folder that Stop removes where it
	// is not given.
	Dir string
	// Username and Password are asked of every HTTP request when either is set.
	Username, Password string
	// AuthorizedKeys may use SSH.
	AuthorizedKeys []ssh.PublicKey
	// Log receives what git says on its standard error.
	Log io.Writer
}

// Server serves the repositories of a folder until Stop.
type Server struct {
	opts   Options
	git    git
	remove string // a folder Stop removes
	gates  gates

	http    *http.Server
	address string // of HTTP
	ssh     *sshServer
	tasks   sync.WaitGroup
	cancel  context.CancelFunc
}

// Start listens on two free loopback ports.
func Start(opts Options) (*Server, error) {
	s := &Server{opts: opts}
	s.opts.Log = cmp.Or[io.Writer](opts.Log, io.Discard)
	if err := s.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start git server: %w", err), s.Stop())
	}
	return s, nil
}

func (s *Server) start() (err error) {
	if s.opts.Dir == "" {
		if s.opts.Dir, err = os.MkdirTemp("", "gitserver-"); err != nil {
			return err
		}
		s.remove = s.opts.Dir
	}
	if s.git.root, err = filepath.Abs(s.opts.Dir); err != nil {
		return err
	}
	// Requests outlive Start's caller; Stop ends them.
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	if err := s.listenHTTP(ctx); err != nil {
		return err
	}
	return s.listenSSH(ctx)
}

func (s *Server) listenHTTP(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", loopbackAddress)
	if err != nil {
		return err
	}
	s.address = listener.Addr().String()
	s.http = &http.Server{
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTimeout,
	}
	s.tasks.Go(func() { _ = s.http.Serve(listener) }) // ends by Stop alone
	return nil
}

func (s *Server) listenSSH(ctx context.Context) (err error) {
	if s.ssh, err = newSSHServer(ctx, s); err != nil {
		return err
	}
	s.tasks.Go(func() { s.ssh.serve(ctx) })
	return nil
}

// Stop cuts every connection, waits for what served them and removes the
// folder Start made. Gates that hold a push see their context end.
func (s *Server) Stop() error {
	var errs []error
	if s.cancel != nil {
		s.cancel()
	}
	if s.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		errs = append(errs, s.http.Shutdown(ctx))
	}
	if s.ssh != nil {
		s.ssh.close()
	}
	s.tasks.Wait()
	if s.remove != "" {
		errs = append(errs, os.RemoveAll(s.remove))
	}
	return errors.Join(errs...)
}

// URL is where a repository is cloned from over HTTP, without credentials.
func (s *Server) URL(repo string) string { return "http://" + s.address + "/" + folder(repo) }

// SSHURL is where a repository is cloned from over SSH.
func (s *Server) SSHURL(repo string) string {
	return "ssh://git@" + s.ssh.address() + "/" + folder(repo)
}

// KnownHosts is the line that a client's known_hosts file needs for SSHURL.
func (s *Server) KnownHosts() string { return s.ssh.knownHosts() }

// folder is a repository's path below the root, with or without .git given.
func folder(repo string) string {
	return strings.TrimSuffix(strings.Trim(repo, "/"), ".git") + ".git"
}
