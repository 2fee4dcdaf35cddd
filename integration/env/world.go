package env

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"k8s.io/client-go/kubernetes"

	"github.com/tandem-cd/tandem/automator/githosttest"
	"github.com/tandem-cd/tandem/integration/env/cut"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/process"
	"github.com/tandem-cd/tandem/integration/env/registry"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
)

const (
	loopback = "127.0.0.1"

	// Repository is what the automator calls the world's Git repository.
	Repository = "deploy"
	// User is who asks the automator's status API.
	User = "ada"

	// automatorPorts are its gRPC, webhooks, admin and debug.
	automatorPorts = 4
)

// Remote is how the automator reaches the Git server.
type Remote int

// The remotes.
const (
	HTTP Remote = iota
	SSH
)

// Options of a World. The zero value is a world without sites.
type Options struct {
	// Dir is the world's work folder; a folder of the ground's where it is not
	// given.
	Dir string
	// Name begins the names of namespaces.
	Name string
	// Remote is how the automator reaches the Git server.
	Remote Remote
	// SHA256 has the repository name its objects by SHA-256.
	SHA256 bool
	// GitHub has the automator's commits made by API, by a fake of GitHub that
	// makes them in the world's repository, see World.GitHub.
	GitHub bool
	// Branches are those beside main that environments may be on.
	Branches []string
	// Sites are the names of the clusters that the automator knows.
	Sites []string
	// Between puts a proxy into each site's connection to the automator and to the
	// API server, see Site.Relay and Site.API, and into the automator's to the Git
	// server where that is HTTP, see World.GitHost.
	Between bool
	// Wide lets a site's Syncs write to one more namespace, which ends in -annex, and to what is in none.
	Wide bool
	// Everywhere makes the sites' synchronizers responsible for every namespace,
	// and lets the Syncs' account write everything, as who installs an operator
	// must allow.
	Everywhere bool
	// Foreign are hosts of registries that cannot be reached from here. For the
	// simulated node every image of theirs exists, at a digest made of its
	// reference.
	Foreign []string
	// PollInterval is how often the automator looks at Git, and ScanInterval at
	// registries, when nobody tells it that something has changed; by default a
	// few minutes, so that what should be told at once is seen not to be.
	PollInterval, ScanInterval time.Duration
	// Enroll has the sites enroll by tokens, for certificates that live so long; otherwise every site has its certificate
	// in files from the beginning.
	Enroll time.Duration
	// Lease has the sites' synchronizers hold a Lease of such a duration while they work, so that there may be several, see
	// Site.AddReplica; none by default.
	Lease time.Duration
	// Shards is by how many replicas the Syncs of a site are divided, see Site.AddReplica; 1 when 0.
	Shards int
	// Private has the registry ask for a name and a password.
	Private bool
	// Registries are more registries that the automator knows: what its configuration says of each, by host. Timeouts are those
	// for all; its own by default.
	Registries map[string]map[string]any
	Timeouts   map[string]any
	// Vault is what the automator's configuration says of a Vault; none by default.
	Vault map[string]any
	// Traces is the collector that the automator sends traces to; none by default.
	Traces string
	// Queries are the questions that the sites answer through the automator; nil leaves it to the synchronizer.
	Queries []string
	// Profiles lets both agents be profiled, see Agent.Profile.
	Profiles bool
	// LogLevel of the agents; info by default.
	LogLevel string
}

// World is a system of its own on a Ground.
type World struct {
	*Ground

	Registry *registry.Registry
	Git      *gitserver.Server
	// Human signs what a person commits, and Robot what the automator does; the
	// synchronizers trust both. Nobody trusts Stranger.
	Human, Robot, Stranger gitserver.Signer
	// GitHost is between the automator and the Git server; nil without
	// Options.Between.
	GitHost *cut.Proxy
	// GitHub is a fake of GitHub's API before the Git server; nil without
	// Options.GitHub.
	GitHub *githosttest.FakeGitHub
	// Automator is the automator, and Sites the clusters, by name.
	Automator *Agent
	Sites     map[string]*Site

	opts      Options
	dir       string
	ca        *rpctest.CA
	keys      keys
	addresses automatorAddresses
	token     string   // of the webhooks
	forget    []func() // registries, by the simulated node
	conns     map[string]*grpc.ClientConn
	proxies   []*cut.Proxy
}

// automatorAddresses are where the automator listens.
type automatorAddresses struct {
	grpc, webhook, admin string
	debug                string // empty for none
}

// New makes a world in which nothing runs yet but the registry and the Git
// server.
func New(ctx context.Context, ground *Ground, opts Options) (*World, error) {
	opts.Name = cmp.Or(opts.Name, "tandem")
	opts.Dir = cmp.Or(opts.Dir, ground.path("worlds", opts.Name))
	w := &World{Ground: ground, opts: opts, dir: opts.Dir, Sites: map[string]*Site{}, conns: map[string]*grpc.ClientConn{}}
	if err := w.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare world %s: %w", opts.Name, err), w.Close())
	}
	return w, nil
}

func (w *World) prepare(ctx context.Context) (err error) {
	for _, dir := range []string{w.file("keys"), w.file("logs"), w.file("git")} {
		if err := os.MkdirAll(dir, folderMode); err != nil {
			return err
		}
	}
	if err := w.makeKeys(); err != nil {
		return err
	}
	if w.Registry, err = registry.Start(w.registryOptions()); err != nil {
		return err
	}
	w.forget = append(w.forget, w.images.add(w.Registry.Host(), w.Registry.Resolve))
	for _, host := range w.opts.Foreign {
		w.forget = append(w.forget, w.images.add(host, foreignImage))
	}
	if err := w.startGit(ctx); err != nil {
		return err
	}
	if w.opts.GitHub {
		if err := w.startGitHub(); err != nil {
			return fmt.Errorf("fake GitHub: %w", err)
		}
	}
	if err := w.prepareAutomator(ctx); err != nil {
		return fmt.Errorf("automator: %w", err)
	}
	for _, name := range w.opts.Sites {
		if _, err := w.AddSite(ctx, name); err != nil {
			return fmt.Errorf("site %s: %w", name, err)
		}
	}
	return nil
}

func (w *World) registryOptions() registry.Options {
	if !w.opts.Private {
		return registry.Options{}
	}
	return registry.Options{Username: registryUser, Password: w.keys.registry}
}

// file is a path in the world's work folder.
func (w *World) file(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// Dir is the world's work folder.
func (w *World) Dir() string { return w.dir }

func (w *World) startGit(ctx context.Context) error {
	log, err := os.OpenFile(w.file("logs", "git.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, privateMode)
	if err != nil {
		return err
	}
	w.Git, err = gitserver.Start(gitserver.Options{
		Dir: w.file("git"), Username: gitUser, Password: w.keys.password, AuthorizedKeys: w.keys.authorized(), Log: log,
	})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	if err := os.WriteFile(w.file("keys", "known_hosts"), []byte(w.Git.KnownHosts()), privateMode); err != nil {
		return err
	}
	if w.opts.SHA256 {
		return w.Git.Create(ctx, Repository, "--object-format=sha256")
	}
	return w.Git.Create(ctx, Repository)
}

func (w *World) prepareAutomator(ctx context.Context) error {
	ports, err := process.FreePorts(ctx, automatorPorts)
	if err != nil {
		return err
	}
	w.addresses = automatorAddresses{
		grpc: net.JoinHostPort(loopback, ports[0]), webhook: net.JoinHostPort(loopback, ports[1]), admin: net.JoinHostPort(loopback, ports[2]),
	}
	if w.opts.Profiles {
		w.addresses.debug = net.JoinHostPort(loopback, ports[3])
	}
	files, err := w.ca.Server("automator")
	if err != nil {
		return err
	}
	config := w.file("automator.yaml")
	content, err := w.automatorConfig(files)
	if err != nil {
		return err
	}
	if err := writeYAML(config, content); err != nil {
		return err
	}
	w.Automator = newAgent(agentConfig{
		name: automatorProgram, program: w.Program(automatorProgram), config: config,
		log: w.file("logs", "automator.log"), admin: w.addresses.admin, debug: w.addresses.debug,
	})
	w.Registry.Notify(registry.Webhook{
		URL:    "http://" + w.addresses.webhook + "/hooks/registry",
		Header: http.Header{"Authorization": {"Bearer " + w.token}},
	})
	return w.writeCLIConfig()
}

// StartAll starts the automator and every synchronizer.
func (w *World) StartAll(ctx context.Context) error {
	if err := w.Automator.Start(ctx); err != nil {
		return err
	}
	for _, name := range w.opts.Sites {
		if err := w.Sites[name].Synchronizer.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Image is the full name of a repository of the world's registry.
func (w *World) Image(repo string) string { return w.Registry.Repository(repo) }

// Commit puts a change on the deployment repository as somebody's push would,
// and tells the automator as the Git host's webhook would. It returns the commit.
func (w *World) Commit(ctx context.Context, change gitserver.Change) (string, error) {
	commit, err := w.Git.Commit(ctx, Repository, change)
	if err != nil {
		return "", err
	}
	w.hint(ctx)
	return commit, nil
}

// hint is the Git host's webhook. An automator that is not there does not hear it.
func (w *World) hint(ctx context.Context) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.addresses.webhook+"/hooks/git/"+Repository, strings.NewReader("{}"))
	if err != nil {
		return
	}
	request.Header.Set("Authorization", "Bearer "+w.token)
	if response, err := http.DefaultClient.Do(request); err == nil {
		_ = response.Body.Close()
	}
}

// Close ends everything of the world, and removes its namespaces from a cluster
// that is somebody else's. The work folder stays; it is the ground's to remove.
func (w *World) Close() error {
	var errs []error
	for _, conn := range w.conns {
		errs = append(errs, conn.Close())
	}
	for _, site := range w.Sites {
		errs = append(errs, site.close())
	}
	if w.Automator != nil {
		w.Automator.Kill()
	}
	errs = append(errs, w.stopProxies())
	w.stopGitHub()
	for _, forget := range w.forget {
		forget()
	}
	if w.Git != nil {
		errs = append(errs, w.Git.Stop())
	}
	if w.Registry != nil {
		errs = append(errs, w.Registry.Stop())
	}
	return errors.Join(errs...)
}

// Kubernetes is the administrator's client.
func (w *World) Kubernetes() kubernetes.Interface { return w.Client }

// identity makes the files of somebody whom the automator knows.
func (w *World) identity(role rpc.Role, name string) (rpc.TLSFiles, error) {
	return w.ca.Client(rpc.Identity{Role: role, Name: name})
}

// Issue makes the files of somebody whom the automator is to know, such as a cluster that is installed in another way
// than AddSite does it.
func (w *World) Issue(role rpc.Role, name string) (rpc.TLSFiles, error) {
	return w.identity(role, name)
}

// Relay is the address at which clusters reach the automator.
func (w *World) Relay() string { return w.addresses.grpc }

// Webhook is where the automator takes notifications.
func (w *World) Webhook() string { return "http://" + w.addresses.webhook }

func newToken() string { return strings.ToLower(rand.Text()) }
