package gitserver

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

var errUnknownKey = errors.New("key is not authorized")

// sshServer accepts connections and hands their git commands to sessions.
type sshServer struct {
	server   *Server
	listener net.Listener
	config   *ssh.ServerConfig
	hostKey  ssh.PublicKey
}

func newSSHServer(ctx context.Context, s *Server) (*sshServer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		if !slices.ContainsFunc(s.opts.AuthorizedKeys, func(k ssh.PublicKey) bool { return sameKey(k, offered) }) {
			return nil, errUnknownKey
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(signer)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", loopbackAddress)
	if err != nil {
		return nil, err
	}
	return &sshServer{server: s, listener: listener, config: config, hostKey: signer.PublicKey()}, nil
}

func sameKey(a, b ssh.PublicKey) bool { return string(a.Marshal()) == string(b.Marshal()) }

func (s *sshServer) address() string { return s.listener.Addr().String() }

func (s *sshServer) knownHosts() string {
	return knownhosts.Line([]string{knownhosts.Normalize(s.address())}, s.hostKey)
}

// serve ends when the listener is closed, and then waits for its connections,
// which ctx cuts.
func (s *sshServer) serve(ctx context.Context) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		conns.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			s.serveConn(ctx, conn)
		})
	}
}

func (s *sshServer) close() { _ = s.listener.Close() } // serve ends either way

// serveConn runs the sessions of one connection, each for as long as the
// connection stands.
func (s *sshServer) serveConn(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sshConn, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return // not authorized, or no SSH client: the client knows
	}
	defer sshConn.Close()
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel() // before the wait
	tasks.Go(func() { ssh.DiscardRequests(requests) })
	for newChannel := range channels {
		if newChannel.ChannelType() != "session" {
			_ = newChannel.Reject(ssh.UnknownChannelType, "only sessions are served")
			continue
		}
		channel, requests, err := newChannel.Accept()
		if err != nil {
			return
		}
		tasks.Go(func() {
			session := sshSession{server: s.server, channel: channel}
			session.serve(ctx, requests)
		})
	}
}
