package vault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/automator/vaulttest"
	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
	"github.com/tandem-cd/tandem/integration/suites/story"
	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/doctor"
)

const (
	app    = "shop"
	path   = "secret/data/delivery/registry"
	roleID = "tandem"
)

// planted are what nobody may say.
const (
	secretID = "planted-5ecret-1d"
	first    = "planted/first+3f9c"
	second   = "planted/second+81aa"
	third    = "planted/third+c0de"
)

func TestMain(m *testing.M) { os.Exit(story.Main(m)) }

// TestPasswordOfARegistry goes from the first image to one that is pushed while Vault is sealed, and to one after that.
func TestPasswordOfARegistry(t *testing.T) {
	fake := vaulttest.New()
	fake.TakeLogin("auth/approle/login", map[string]string{"role_id": roleID, "secret_id": secretID},
		vaulttest.Grant{TTL: 30 * time.Second, Renewable: true, Read: []string{path}})
	fake.PutKV2(path, map[string]any{"user": "robot", "token": first})
	server := fake.Start(false)
	t.Cleanup(server.Close)

	private, err := registry.Start(registry.Options{Username: "robot", Password: first})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := private.Stop(); err != nil {
			t.Error(err)
		}
	})
	world := newWorld(t, private, server.URL)
	deploy(t, world, private)
	if err := world.Automator.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	release(t, world, private, "1.1.0")

	rotate(t, private, fake, second)
	release(t, world, private, "1.2.0")

	fake.Seal(true)
	release(t, world, private, "1.3.0")
	tells(t, world)

	rotate(t, private, fake, third)
	fake.Seal(false)
	release(t, world, private, "1.4.0")
	if denied := fake.Denied(); denied > 0 {
		t.Errorf("%d requests with a token that had ended", denied)
	}
	unsaid(t, world)
}

func newWorld(t *testing.T, private *registry.Registry, vault string) *env.World {
	t.Helper()
	proof := filepath.Join(t.TempDir(), "secret-id")
	if err := os.WriteFile(proof, []byte(secretID), 0o600); err != nil {
		t.Fatal(err)
	}
	world, err := env.New(t.Context(), story.Ground(t), env.Options{
		Name: "vault", LogLevel: "debug", ScanInterval: 10 * time.Second,
		Vault: map[string]any{
			"address": vault, "insecure": true,
			"auth": map[string]any{"appRole": map[string]any{"roleID": roleID, "secretIDFile": proof}},
		},
		Registries: map[string]map[string]any{private.Host(): {
			"insecure": true, "vault": map[string]any{"path": path, "usernameField": "user", "passwordField": "token"},
		}},
	})
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

func deploy(t *testing.T, world *env.World, private *registry.Registry) {
	t.Helper()
	if _, err := private.Push(t.Context(), app, "1.0.0", registry.Image{}); err != nil {
		t.Fatal(err)
	}
	image := private.Repository(app)
	change := gitserver.Change{Message: "Seed", Author: "Ada <ada@example.com>", Signer: world.Human, Files: map[string]string{
		".tandem/clusters.yaml": "version: 1\nclusters: [{name: dev, grants: [{refs: [main], paths: [env]}]}]\n",
		".tandem/shop.yaml": fmt.Sprintf("version: 1\napp: shop\nimages: [{name: web, repository: %q, policy: {semver: \"*\"}}]\n"+
			"environments: [{name: dev, path: env, cluster: dev}]\n", image),
		"env/pod.yaml": fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: shop}\nspec:\n  containers:\n    - name: web\n      image: %s:1.0.0\n", image),
	}}
	if _, err := world.Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
}

// rotate changes the password in the registry and, as people do it, then in Vault.
func rotate(t *testing.T, private *registry.Registry, fake *vaulttest.Fake, password string) {
	t.Helper()
	if err := private.Rotate(password); err != nil {
		t.Fatal(err)
	}
	fake.PutKV2(path, map[string]any{"user": "robot", "token": password})
}

// release pushes a version and waits for its commit.
func release(t *testing.T, world *env.World, private *registry.Registry, tag string) {
	t.Helper()
	pushed, err := private.Push(t.Context(), app, tag, registry.Image{})
	if err != nil {
		t.Fatal(err)
	}
	waits(t, tag+" is not in Git", func(ctx context.Context) string {
		content, err := world.Git.Git(ctx, env.Repository, "show", "refs/heads/main:env/pod.yaml")
		if err == nil && strings.Contains(content, pushed.Reference()) {
			return ""
		}
		return fmt.Sprintf("%v\n%s\n%v", err, content, problems(t, world))
	})
}

// failing is what the metrics say then.
var failing = regexp.MustCompile(`(?m)^tandem_automator_vault_requests_total\{code="5xx",operation="(?:renew|login)"\} [1-9]`)

// tells waits until the automator says that Vault gives nothing: in its status, by its metrics, and to the doctor.
func tells(t *testing.T, world *env.World) {
	t.Helper()
	waits(t, "the status does not say that Vault is sealed", func(context.Context) string {
		all := problems(t, world)
		for _, problem := range all {
			if problem.GetKind() == statusv1.ProblemKind_PROBLEM_KIND_CREDENTIALS && strings.Contains(problem.GetMessage(), "Vault is sealed") {
				return ""
			}
		}
		return fmt.Sprint(all)
	})
	scrape, err := world.Automator.Get(t.Context(), "/metrics")
	if err != nil || !failing.Match(scrape) {
		t.Errorf("no metric says that Vault does not answer: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), world.Program("tandem"), "--config", world.CLIConfig(), "cluster", "doctor", "-o", "json").Output()
	var report struct{ Findings []doctor.Finding }
	if unreadable := json.Unmarshal(out, &report); unreadable != nil {
		t.Fatalf("%v: %v: %s", err, unreadable, out)
	}
	warned := false
	for _, found := range report.Findings {
		if found.Check == "credentials" {
			warned = warned || strings.Contains(found.What, "sealed")
			if found.Level != doctor.Warning {
				t.Errorf("what counts on is a %s: %s", found.Level, found.What)
			}
		}
	}
	if !warned {
		t.Errorf("the doctor does not say that Vault is sealed: %+v", report.Findings)
	}
}

func problems(t *testing.T, world *env.World) []*statusv1.Problem {
	t.Helper()
	client, err := world.Pipelines()
	if err != nil {
		t.Fatal(err)
	}
	listed, err := client.ListPipelines(t.Context(), &pipelinev1.ListPipelinesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return listed.GetProblems()
}

// waits asks until there is nothing left to say.
func waits(t *testing.T, what string, left func(context.Context) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), env.WaitTimeout)
	defer cancel()
	for {
		last := left(ctx)
		if last == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %s", what, last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// unsaid looks for what is secret in what the automator said.
func unsaid(t *testing.T, world *env.World) {
	t.Helper()
	log, err := os.ReadFile(world.Automator.Log())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{secretID, first, second, third, "hvs."} {
		if strings.Contains(string(log), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}
