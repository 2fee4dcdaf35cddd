package hostile_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
	"github.com/tandem-cd/tandem/integration/suites/story"
	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
)

const (
	honest = "honest"
	user   = "robot"
)

func TestMain(m *testing.M) { os.Exit(story.Main(m)) }

// trap is where hostile answers send others to, on a host of its own. It remembers what it was sent.
type trap struct {
	url string

	mu   sync.Mutex
	sent bytes.Buffer
}

func setTrap(t *testing.T) *trap {
	t.Helper()
	p := &trap{}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	return p
}

func (p *trap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := r.Write(&p.sent); err != nil {
		fmt.Fprintf(&p.sent, "%v", err)
	}
	fmt.Fprint(w, `{"token":"trap"}`)
}

func (p *trap) heard() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent.String()
}

// hostile is how one registry answers, and what is said of it.
type hostile struct {
	match  func(*http.Request) bool
	answer http.HandlerFunc
	says   string // what matches; nothing where the answer is taken for what it is
}

func tagsList(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/tags/list") }

func manifest(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }

func everything(*http.Request) bool { return true }

func registries(p *trap) map[string]hostile {
	return map[string]hostile{
		"endless": {tagsList, func(w http.ResponseWriter, r *http.Request) {
			n := len(r.URL.Query().Get("last"))
			w.Header().Set("Link", fmt.Sprintf(`<%s?last=%s>; rel="next"`, r.URL.Path, strings.Repeat("x", n+1)))
			fmt.Fprintf(w, `{"tags":["0.0.%d"]}`, n)
		}, "timeouts.list passed|budget of 50 requests"},
		"itself": {tagsList, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<"+r.URL.Path+`>; rel="next"`)
			fmt.Fprint(w, `{"tags":["0.0.1"]}`)
		}, "goes on without bringing anything new"},
		"realm": {everything, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+p.url+`/token",service="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, "name it in tokenServers"},
		"metadata": {tagsList, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/iam/security-credentials/", http.StatusTemporaryRedirect)
		}, "link-local"},
		"elsewhere": {tagsList, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, p.url+"/tags", http.StatusTemporaryRedirect)
		}, ""},
		"flood": {tagsList, func(w http.ResponseWriter, _ *http.Request) {
			block := []byte(`"` + strings.Repeat("a", 1<<20) + `",`)
			for _, err := fmt.Fprint(w, `{"tags":[`); err == nil; {
				_, err = w.Write(block)
			}
		}, "an answer of more than [0-9]+ bytes"},
		"slow": {tagsList, func(w http.ResponseWriter, r *http.Request) {
			for every := time.NewTicker(100 * time.Millisecond); ; {
				if _, err := fmt.Fprint(w, " "); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				select {
				case <-every.C:
				case <-r.Context().Done():
					return
				}
			}
		}, "timeouts.list passed"},
		"manifest": {manifest, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			if r.Method != http.MethodHead {
				_, _ = w.Write(bytes.Repeat([]byte(" "), 20<<20))
			}
		}, "an answer of more than [0-9]+ bytes"},
		"digest": {manifest, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
			fmt.Fprint(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}`)
		}, "digest"},
		"repeats": {tagsList, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, password, _ := r.BasicAuth()
			fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":%q}]}`, "not with "+password+" in "+r.Header.Get("Authorization")+url.QueryEscape(password))
		}, `not with \[redacted\]`},
	}
}

// place is a hostile registry: a real one, whose answers are changed for as long as the injection is there.
type place struct {
	hostile
	*registry.Registry

	injection *registry.Injection
	password  string
}

// TestHostileRegistries has one automator look at an honest registry and at many that are not.
func TestHostileRegistries(t *testing.T) {
	p := setTrap(t)
	places, configs := map[string]*place{}, map[string]map[string]any{}
	for name, h := range registries(p) {
		one := open(t, name, h)
		places[name] = one
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(one.password), 0o600); err != nil {
			t.Fatal(err)
		}
		configs[one.Host()] = map[string]any{"insecure": true, "username": user, "passwordFile": file}
	}
	world := newWorld(t, env.Options{
		Name: "hostile", Registries: configs, Timeouts: map[string]any{"list": "3s", "digest": "3s", "answer": "2s"},
		ScanInterval: 10 * time.Second, LogLevel: "debug",
	})
	deploy(t, world, places)
	if err := world.Automator.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(world.Dir(), "keys", "webhook-token"))
	if err != nil {
		t.Fatal(err)
	}
	hook := registry.Webhook{URL: world.Webhook() + "/hooks/registry", Header: http.Header{"Authorization": {"Bearer " + strings.TrimSpace(string(token))}}}

	release(t, world, world.Registry, honest, "1.1.0")
	for name, one := range places {
		t.Run(name, func(t *testing.T) { explains(t, world, name, one.says) })
	}
	release(t, world, world.Registry, honest, "1.2.0")
	unsaid(t, world, places, p)

	for name, one := range places {
		one.injection.Remove()
		one.Notify(hook)
		release(t, world, one.Registry, name, "1.1.0")
	}
}

// open starts a registry that is hostile from now on.
func open(t *testing.T, name string, h hostile) *place {
	t.Helper()
	one := &place{hostile: h, password: "planted/" + name + "+3f9c"}
	var err error
	if one.Registry, err = registry.Start(registry.Options{Username: user, Password: one.password}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := one.Stop(); err != nil {
			t.Error(err)
		}
	})
	if _, err := one.Push(t.Context(), name, "1.0.0", registry.Image{}); err != nil {
		t.Fatal(err)
	}
	one.injection = one.Inject(registry.Fault{Match: one.match, Answer: one.answer})
	return one
}

func newWorld(t *testing.T, options env.Options) *env.World {
	t.Helper()
	world, err := env.New(t.Context(), story.Ground(t), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	return world
}

// deploy commits a pipeline and a manifest for the image of every registry.
func deploy(t *testing.T, world *env.World, places map[string]*place) {
	t.Helper()
	if _, err := world.Registry.Push(t.Context(), honest, "1.0.0", registry.Image{}); err != nil {
		t.Fatal(err)
	}
	images := map[string]string{honest: world.Image(honest)}
	for name, one := range places {
		images[name] = one.Repository(name)
	}
	files := map[string]string{".tandem/clusters.yaml": "version: 1\nclusters: [{name: dev, grants: [{refs: [main], paths: [env]}]}]\n"}
	for name, repository := range images {
		policy := `{semver: "*"}`
		if name == "manifest" || name == "digest" {
			policy = "{newest: created}"
		}
		files[".tandem/"+name+".yaml"] = fmt.Sprintf("version: 1\napp: %s\nimages: [{name: %s, repository: %q, policy: %s}]\nenvironments: [{name: dev, path: env/%s, cluster: dev}]\n",
			name, name, repository, policy, name)
		files["env/"+name+"/pod.yaml"] = fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  containers:\n    - name: web\n      image: %s:1.0.0\n", name, repository)
	}
	change := gitserver.Change{Files: files, Message: "Seed", Author: "Ada <ada@example.com>", Signer: world.Human}
	if _, err := world.Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
}

// release pushes a version and waits for its commit.
func release(t *testing.T, world *env.World, at *registry.Registry, name, tag string) {
	t.Helper()
	pushed, err := at.Push(t.Context(), name, tag, registry.Image{Created: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	var content string
	waits(t, func(ctx context.Context) bool {
		content, err = world.Git.Git(ctx, env.Repository, "show", "refs/heads/main:env/"+name+"/pod.yaml")
		return strings.Contains(content, pushed.Reference())
	}, func() string {
		return fmt.Sprintf("%s is not in Git: %v\n%s\n%s", pushed.Reference(), err, content, explain(t, world, name))
	})
}

// explains waits until the automator says why an image is not updated.
func explains(t *testing.T, world *env.World, name, says string) {
	t.Helper()
	said := ""
	waits(t, func(context.Context) bool {
		said = explain(t, world, name)
		return regexp.MustCompile(says).MatchString(said)
	}, func() string { return fmt.Sprintf("of %s is not said %q:\n%s", name, says, said) })
}

func explain(t *testing.T, world *env.World, name string) string {
	t.Helper()
	client, err := world.Pipelines()
	if err != nil {
		t.Fatal(err)
	}
	explained, err := client.ExplainImage(t.Context(), &pipelinev1.ExplainImageRequest{Image: name})
	if err != nil {
		return err.Error()
	}
	return explained.String()
}

func waits(t *testing.T, done func(context.Context) bool, otherwise func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), env.WaitTimeout)
	defer cancel()
	for !done(ctx) {
		select {
		case <-ctx.Done():
			t.Fatal(otherwise())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// unsaid looks for the passwords in what the automator said, and in what the trap heard.
func unsaid(t *testing.T, world *env.World, places map[string]*place, p *trap) {
	t.Helper()
	log, err := os.ReadFile(world.Automator.Log())
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{"the log": string(log), "the trap": p.heard()}
	for name := range places {
		said["the explanation of "+name] = explain(t, world, name)
	}
	for what, text := range said {
		for name, one := range places {
			basic := base64.RawStdEncoding.EncodeToString([]byte(user + ":" + one.password))
			if slices.ContainsFunc([]string{one.password, url.QueryEscape(one.password), basic}, func(form string) bool { return strings.Contains(text, form) }) {
				t.Errorf("%s has the password of %s", what, name)
			}
		}
	}
}
