package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/crypto/bcrypt"
)

const (
	loopbackAddress = "127.0.0.1:0"
	// stopTimeout bounds how long Stop waits for requests to end by themselves.
	stopTimeout = 5 * time.Second
	// headerTimeout bounds how long a client may take over a request's header.
	headerTimeout = 30 * time.Second

	privateMode = 0o600
	folderMode  = 0o700
)

// Options of a registry. The zero value keeps images in memory and serves
// anybody.
type Options struct {
	// Dir keeps the images in files instead of in memory.
	Dir string
	// Username and Password are asked of every request when Username is set.
	Username, Password string
	// PageSize is the most tags one answer lists to a client that asks for
	// pages; the registry's own default where it is 0.
	PageSize int
}

// Registry serves images until Stop.
type Registry struct {
	opts   Options
	app    *handlers.App
	faults faults
	relay  relay
	remove string // a folder Stop removes

	server    *http.Server
	address   string
	transport *http.Transport // of Push and its like
	tasks     sync.WaitGroup
	cancel    context.CancelFunc
}

// Start listens on a free loopback port.
func Start(opts Options) (*Registry, error) {
	r := &Registry{opts: opts, transport: &http.Transport{}}
	if err := r.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start registry: %w", err), r.Stop())
	}
	return r, nil
}

func (r *Registry) start() error {
	// Requests outlive Start's caller; Stop ends them.
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", loopbackAddress)
	if err != nil {
		return err
	}
	r.address = listener.Addr().String()
	passwords, err := r.writePasswords()
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	silence()
	r.app = handlers.NewApp(ctx, configure(r.opts, passwords, "http://"+r.address+notificationsPath))
	r.server = &http.Server{
		Handler:           r.handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTimeout,
	}
	r.tasks.Go(func() { _ = r.server.Serve(listener) }) // ends by Stop alone
	return nil
}

// handler sends distribution's notifications on their way and everything else
// through the faults.
func (r *Registry) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(notificationsPath, &r.relay)
	mux.Handle("/", r.faults.wrap(r.app))
	return mux
}

// writePasswords makes the htpasswd file, at bcrypt's lowest cost, since every
// request is checked against it.
func (r *Registry) writePasswords() (path string, err error) {
	if r.opts.Username == "" {
		return "", nil
	}
	if r.remove, err = os.MkdirTemp("", "registry-"); err != nil {
		return "", err
	}
	path = filepath.Join(r.remove, "htpasswd")
	return path, r.writePassword(path)
}

func (r *Registry) writePassword(path string) error {
	hash, err := bcrypt.GenerateFromPassword([]byte(r.opts.Password), bcrypt.MinCost)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(r.opts.Username+":"+string(hash)+"\n"), privateMode)
}

// Rotate has the registry ask for another password from now on. It is the
// caller's to push nothing meanwhile.
func (r *Registry) Rotate(password string) error {
	r.opts.Password = password
	return r.writePassword(filepath.Join(r.remove, "htpasswd"))
}

// Stop ends every request, held ones included, and forgets what was pushed,
// but for images kept in Options.Dir.
func (r *Registry) Stop() error {
	var errs []error
	if r.cancel != nil {
		r.cancel()
	}
	r.transport.CloseIdleConnections()
	if r.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		errs = append(errs, r.server.Shutdown(ctx))
	}
	if r.app != nil {
		errs = append(errs, r.app.Shutdown())
	}
	r.tasks.Wait()
	r.relay.close()
	if r.remove != "" {
		errs = append(errs, os.RemoveAll(r.remove))
	}
	return errors.Join(errs...)
}

// Host is the registry's part of an image reference: a loopback address, which
// clients take for plain HTTP.
func (r *Registry) Host() string { return r.address }

// Repository is a repository's full name, as it stands in image references.
func (r *Registry) Repository(repo string) string { return r.address + "/" + repo }

func (r *Registry) credentials() authn.Authenticator {
	if r.opts.Username == "" {
		return authn.Anonymous
	}
	return &authn.Basic{Username: r.opts.Username, Password: r.opts.Password}
}

// LeakedGoroutines names functions whose goroutines a stopped registry leaves
// behind, for goleak.IgnoreAnyFunction: distribution has no way to end them.
func LeakedGoroutines() []string {
	return []string{
		"github.com/docker/go-events.(*Broadcaster).run",
		"github.com/distribution/distribution/v3/notifications.(*eventQueue).run",
	}
}
