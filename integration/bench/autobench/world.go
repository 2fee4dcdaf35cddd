package autobench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/process"
	"github.com/tandem-cd/tandem/integration/env/registry"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
)

const (
	loopback    = "127.0.0.1"
	folderMode  = 0o700
	privateMode = 0o600

	// repository is the Git repository that the automator writes.
	repository = "deploy"
	mainRef    = "refs/heads/main"
	// robot makes the automator's commits.
	robot      = "Tandem"
	robotEmail = "tandem@example.com"

	// stopTimeout bounds how long the automator may take to end.
	stopTimeout = 30 * time.Second
)

// world is an automator between a registry and a Git server.
type world struct {
	opts      Options
	dir       string
	git       *gitserver.Server
	registry  *registry.Registry
	front     *Front
	automator *process.Process
	token     string
	admin     string // host:port
	webhook   string // host:port
	debug     string // host:port of profiles
}

// settings are what one part sets otherwise than the automator does by itself; zeros leave it to that.
type settings struct {
	scanInterval, pollInterval time.Duration
	requestsPerSecond          int
}

// newWorld starts a registry, a front and a Git server with an empty repository.
func newWorld(ctx context.Context, dir string, opts Options) (w *world, err error) {
	w = &world{opts: opts, dir: dir, token: strings.ToLower(rand.Text())}
	for _, step := range []func(context.Context) error{w.makeKeys, w.startGit, w.startRegistry} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	return w, nil
}

func (w *world) file(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

func (w *world) makeKeys(context.Context) error {
	if err := os.MkdirAll(w.file("keys"), folderMode); err != nil {
		return err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"signing": pem.EncodeToMemory(block), "token": []byte(w.token)} {
		if err := os.WriteFile(w.file("keys", name), content, privateMode); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) startGit(ctx context.Context) (err error) {
	if w.git, err = gitserver.Start(gitserver.Options{Dir: w.file("git")}); err != nil {
		return err
	}
	return w.git.Create(ctx, repository)
}

func (w *world) startRegistry(ctx context.Context) (err error) {
	if w.registry, err = registry.Start(registry.Options{Dir: w.file("registry")}); err != nil {
		return err
	}
	w.front, err = StartFront(ctx, w.registry.Host(), w.opts.Latency, w.opts.Limit)
	return err
}

// image is the name of an image repository as the automator is to know it.
func (w *world) image(repo string) string { return w.front.Host() + "/" + repo }

// configure writes the automator's configuration and has the registry notify it.
func (w *world) configure(ctx context.Context, s settings) error {
	ports, err := process.FreePorts(ctx, 4)
	if err != nil {
		return err
	}
	ca, err := rpctest.NewCA(w.file("keys"))
	if err != nil {
		return err
	}
	server, err := ca.Server("automator")
	if err != nil {
		return err
	}
	w.admin, w.webhook = net.JoinHostPort(loopback, ports[0]), net.JoinHostPort(loopback, ports[1])
	w.debug = net.JoinHostPort(loopback, ports[3])
	type fields = map[string]any
	git := fields{"name": repository, "url": w.git.URL(repository)}
	host := fields{"insecure": true}
	config := fields{
		"listen": net.JoinHostPort(loopback, ports[2]), "tls": fields{"cert": server.Cert, "key": server.Key, "ca": server.CA},
		"stateDir": w.file("automator"), "log": fields{"level": "warn"}, "admin": w.admin,
		"webhook":      fields{"listen": w.webhook, "tokenFile": w.file("keys", "token"), "hosts": fields{w.registry.Host(): w.front.Host()}},
		"signing":      fields{"name": robot, "email": robotEmail, "sshKeyFile": w.file("keys", "signing")},
		"repositories": []any{git},
		"registries":   fields{"hosts": fields{w.front.Host(): host}},
	}
	if w.opts.Profiles != "" {
		config["debug"] = w.debug
	}
	if s.scanInterval > 0 {
		config["scanInterval"] = s.scanInterval.String()
	}
	if s.pollInterval > 0 {
		git["pollInterval"] = s.pollInterval.String()
	}
	if s.requestsPerSecond > 0 {
		host["requestsPerSecond"] = s.requestsPerSecond
	}
	raw, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(w.file("automator.yaml"), raw, privateMode)
}

// notify has the registry tell the automator of every push from now on.
func (w *world) notify() {
	w.registry.Notify(registry.Webhook{
		URL: "http://" + w.webhook + "/hooks/registry", Header: http.Header{"Authorization": {"Bearer " + w.token}},
	})
}

// hint is the Git host's webhook.
func (w *world) hint(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.webhook+"/hooks/git/"+repository, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+w.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// start starts the automator, and returns when it has fetched.
func (w *world) start(ctx context.Context) (err error) {
	w.automator, err = process.Start(process.Config{
		Name: "automator", Log: w.file("automator.log"), Command: []string{w.opts.Program, "--config", w.file("automator.yaml")},
	})
	if err != nil {
		return err
	}
	return w.automator.Ready(ctx, func(ctx context.Context) error { return w.get(ctx, "/readyz", nil) })
}

// kill ends the automator without warning.
func (w *world) kill() {
	w.automator.Kill()
	w.automator = nil
}

func (w *world) close() error {
	var problems []error
	if w.automator != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		problems = append(problems, w.automator.Stop(ctx))
	}
	if w.front != nil {
		problems = append(problems, w.front.Stop())
	}
	if w.registry != nil {
		problems = append(problems, w.registry.Stop())
	}
	if w.git != nil {
		problems = append(problems, w.git.Stop())
	}
	return errors.Join(problems...)
}

// pipeline is the file of an application whose only environment is a folder.
func (w *world) pipeline(app, folder string, images ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\napp: %s\nimages:\n", app)
	for _, image := range images {
		b.WriteString(image)
	}
	fmt.Fprintf(&b, "environments: [{name: dev, path: %s}]\n", folder)
	return b.String()
}

// deployment is a manifest that runs an image.
func deployment(name, image string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers:
        - name: main
          image: %[2]s
`, name, image)
}
