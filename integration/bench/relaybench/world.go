package relaybench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
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

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/process"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
)

const (
	loopback   = "127.0.0.1"
	repository = "deploy"
	// stopTimeout bounds how long the automator may take to end.
	stopTimeout = 30 * time.Second
)

// world is an automator with its Git server, and the certificates of everybody.
type world struct {
	opts      Options
	dir       string
	remove    bool
	git       *gitserver.Server
	ca        *rpctest.CA
	server    rpc.TLSFiles
	automator *process.Process
	config    string
	listen    string
	webhook   string
	admin     string
	token     string
	names     []string
	shared    int // how often the shared folder changed
	// oldest and newest are the ends of a long history, see history.
	oldest, newest *revisionv1.ObjectId
}

// newWorld prepares everything and starts nothing but the Git server. Clusters are named c0000 and so on; each is
// granted a folder that all share and one of its own.
func newWorld(ctx context.Context, opts Options, clusters int, more ...string) (w *world, err error) {
	w = &world{opts: opts, dir: opts.Keep, token: strings.ToLower(rand.Text())}
	if w.dir == "" {
		w.remove = true
		if w.dir, err = os.MkdirTemp("", "relaybench-"); err != nil {
			return nil, err
		}
	}
	for i := range clusters {
		w.names = append(w.names, fmt.Sprintf("c%04d", i))
	}
	w.names = append(w.names, more...)
	for _, step := range []func(context.Context) error{w.startGit, w.keys, w.configure} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	return w, nil
}

func (w *world) file(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

func (w *world) startGit(ctx context.Context) (err error) {
	if err := os.MkdirAll(w.file("keys"), 0o700); err != nil {
		return err
	}
	if w.git, err = gitserver.Start(gitserver.Options{Dir: w.file("git")}); err != nil {
		return err
	}
	if err := w.git.Create(ctx, repository); err != nil {
		return err
	}
	files := map[string]string{"base/config.yaml": configMap(0)}
	var grants strings.Builder
	grants.WriteString("version: 1\nclusters:\n")
	for _, name := range w.names {
		fmt.Fprintf(&grants, "- {name: %s, grants: [{refs: [main], paths: [base, clusters/%s]}]}\n", name, name)
		files["clusters/"+name+"/config.yaml"] = configMap(0)
	}
	files[".tandem/clusters.yaml"] = grants.String()
	_, err = w.git.Commit(ctx, repository, gitserver.Change{Files: files, Message: "Begin"})
	return err
}

// configMap is a manifest of about a kilobyte.
func configMap(version int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndata: {version: %q, text: %q}\n", fmt.Sprint(version), strings.Repeat("x", 900))
}

func (w *world) keys(context.Context) (err error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"signing": pem.EncodeToMemory(block), "token": []byte(w.token)} {
		if err := os.WriteFile(w.file("keys", name), content, 0o600); err != nil {
			return err
		}
	}
	if w.ca, err = rpctest.NewCA(w.file("keys")); err != nil {
		return err
	}
	w.server, err = w.ca.Server("automator")
	return err
}

func (w *world) configure(ctx context.Context) error {
	ports, err := process.FreePorts(ctx, 3)
	if err != nil {
		return err
	}
	w.listen, w.webhook, w.admin = net.JoinHostPort(loopback, ports[0]), net.JoinHostPort(loopback, ports[1]), net.JoinHostPort(loopback, ports[2])
	type fields = map[string]any
	raw, err := yaml.Marshal(fields{
		"listen": w.listen, "tls": fields{"cert": w.server.Cert, "key": w.server.Key, "ca": w.server.CA},
		"stateDir": w.file("automator"), "log": fields{"level": "warn"}, "admin": w.admin,
		"webhook":      fields{"listen": w.webhook, "tokenFile": w.file("keys", "token")},
		"signing":      fields{"name": "Tandem", "email": "tandem@example.com", "sshKeyFile": w.file("keys", "signing")},
		"repositories": []any{fields{"name": repository, "url": w.git.URL(repository)}},
	})
	if err != nil {
		return err
	}
	w.config = w.file("automator.yaml")
	return os.WriteFile(w.config, raw, 0o600)
}

// start starts the automator and returns when it serves.
func (w *world) start(ctx context.Context) (err error) {
	w.automator, err = process.Start(process.Config{
		Name: "automator", Log: w.file("automator.log"), Command: []string{w.opts.Program, "--config", w.config},
	})
	if err != nil {
		return err
	}
	return w.automator.Ready(ctx, func(ctx context.Context) error { return get(ctx, "http://"+w.admin+"/readyz") })
}

// kill ends the automator without warning.
func (w *world) kill() {
	w.automator.Kill()
	w.automator = nil
}

func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return nil
}

// commit changes the folder that all share, tells the automator as a Git host's webhook does, and returns when.
func (w *world) commit(ctx context.Context) (commit string, pushed time.Time, err error) {
	w.shared++
	commit, err = w.git.Commit(ctx, repository, gitserver.Change{
		Files: map[string]string{"base/config.yaml": configMap(w.shared)}, Message: "Change",
	})
	if err != nil {
		return "", pushed, err
	}
	pushed = time.Now()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.webhook+"/hooks/git/"+repository, strings.NewReader("{}"))
	if err != nil {
		return "", pushed, err
	}
	request.Header.Set("Authorization", "Bearer "+w.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", pushed, err
	}
	return commit, pushed, response.Body.Close()
}

// history adds commits of the shared folder, as years would.
func (w *world) history(ctx context.Context, commits int) error {
	oldest, err := w.git.Tip(ctx, repository, "refs/heads/main")
	if err != nil {
		return err
	}
	newest, err := w.git.Grow(ctx, repository, commits, func(i int) (path, content string) { return "base/config.yaml", configMap(-i) })
	if err != nil {
		return err
	}
	if w.oldest, err = objectID(oldest); err != nil {
		return err
	}
	w.newest, err = objectID(newest)
	return err
}

func objectID(text string) (*revisionv1.ObjectId, error) {
	id, err := gitobject.ParseID(text)
	return revision.ObjectToProto(id), err
}

// identity makes a cluster's certificate and returns a dialler's configuration that holds it in memory.
func (w *world) identity(name string) (*tls.Config, error) {
	files, err := w.ca.Client(rpc.Identity{Role: rpc.RoleCluster, Name: name})
	if err != nil {
		return nil, err
	}
	config, err := files.Client("localhost")
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return config, nil
}

// crowd makes a fake for each of some clusters.
func (w *world) crowd(names []string) (*crowd, error) {
	c := newCrowd(w.opts.Fetch)
	for _, name := range names {
		config, err := w.identity(name)
		if err != nil {
			return nil, err
		}
		f := &fake{name: name, crowd: c, paths: []string{"base", "clusters/" + name}, kick: make(chan struct{}, 1)}
		f.link.address, f.link.tls = w.listen, config
		c.fakes = append(c.fakes, f)
	}
	return c, nil
}

func (w *world) close() error {
	var problems []error
	if w.automator != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		problems = append(problems, w.automator.Stop(ctx))
	}
	if w.git != nil {
		problems = append(problems, w.git.Stop())
	}
	if w.remove {
		problems = append(problems, os.RemoveAll(w.dir))
	}
	return errors.Join(problems...)
}

// Build builds the automator into a folder and returns its path.
func Build(ctx context.Context, dir string) (string, error) { return env.BuildAutomator(ctx, dir) }
