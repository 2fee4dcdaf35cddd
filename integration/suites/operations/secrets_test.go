package operations_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

// mark stands where the agents left a secret out.
const mark = "[redacted]"

// inGit are values of Secrets in Git, and one in an address, each written so that something complains of it. No complaint
// may repeat one.
var inGit = map[string]string{
	"applied":   "planted-applied-2b7e",
	"no base64": "planted!no!base64!9d1c",
	"number":    "9148151623",
	"alias":     "planted-alias-77f0",
	"changed":   "planted-changed-01ab",
	"address":   "planted-address-5e5e",
	"policy":    "planted-policy-c0de",
}

// manifests are the Secrets.
func manifests(folder string) map[string]string {
	secret := func(name, content string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\n%s\n", name, content)
	}
	return map[string]string{
		folder + "/secret-applied.yaml":  secret("applied", "stringData: {password: "+inGit["applied"]+"}"),
		folder + "/secret-base64.yaml":   secret("base64", `data: {password: "`+inGit["no base64"]+`"}`),
		folder + "/secret-number.yaml":   secret("number", "stringData: {pin: "+inGit["number"]+"}"),
		folder + "/secret-alias.yaml":    secret("alias", "stringData: {password: *"+inGit["alias"]+"}"),
		folder + "/secret-pipeline.yaml": secret("pipeline", "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: "+inGit["policy"]+"}"),
	}
}

// secretsAllowed is what an installation needs in whose Git are Secrets.
const secretsAllowed = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: secrets}
rules:
  - {apiGroups: [""], resources: [secrets], verbs: [create, get, list, watch, patch, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: secrets}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: secrets}
subjects:
  - {kind: ServiceAccount, name: tandem, namespace: NAMESPACE}
  - {kind: ServiceAccount, name: tandem-synchronizer, namespace: tandem-system}
`

// TestSecretsStayUnsaid has both agents work with secrets of every kind, and everybody complain about them in the worst way
// that is possible. Then it looks for them in everything that the agents wrote, answered and committed.
func TestSecretsStayUnsaid(t *testing.T) {
	world := newWorld(t, env.Options{
		Name: "secrets", Enroll: time.Hour, Private: true, LogLevel: "debug", ScanInterval: 10 * time.Second,
	})
	if err := world.Sites[site].Apply(t.Context(), strings.ReplaceAll(secretsAllowed, "NAMESPACE", world.Sites[site].Namespace)); err != nil {
		t.Fatal(err)
	}
	enrolls(t, world)
	if err := world.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	release(t, world, "1.1.0")
	planted, err := world.Secrets()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range inGit {
		planted["Git: "+name] = value
	}
	hostRepeats(t, world, planted)
	registryRepeats(t, world)
	secretsInGit(t, world)
	wrongCallers(t, world)

	said := everything(t, world)
	for what, text := range said {
		if len(text) == 0 {
			t.Errorf("%s is empty: was it read right?", what)
		}
		for name, value := range planted {
			for _, form := range forms(value) {
				if at := bytes.Index(text, []byte(form)); at >= 0 {
					t.Errorf("%s has the secret %s: …%s…", what, name, text[max(0, at-200):min(len(text), at+len(form)+50)])
				}
			}
		}
	}
	t.Logf("%d secrets in no form in %d outputs", len(planted), len(said))
}

// forms are the ways in which a value may be written.
func forms(value string) []string {
	quoted := strconv.Quote(value)
	found := []string{value, url.QueryEscape(value), url.PathEscape(value), strings.Trim(quoted, `"`)}
	for _, user := range []string{"", "tandem:", "x:", "ab:"} { // "user:password" is how HTTP writes it
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			encoded := encoding.EncodeToString([]byte(user + value))
			found = append(found, encoded[(len(user)*8+5)/6:len(encoded)-2])
		}
	}
	return found
}

// enrolls gives the site a token.
func enrolls(t *testing.T, world *env.World) {
	t.Helper()
	if err := world.Automator.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin, err := world.Enrollment()
	if err != nil {
		t.Fatal(err)
	}
	token, err := admin.CreateToken(t.Context(), &enrollmentv1.CreateTokenRequest{Cluster: site, TtlSeconds: 3600})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(world.Sites[site].TokenFile(), []byte(token.GetToken()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := world.Automator.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// hostRepeats has the Git host refuse a push, and say what it was sent.
func hostRepeats(t *testing.T, world *env.World, planted map[string]string) {
	t.Helper()
	hook := filepath.Join(world.Dir(), "git", env.Repository+".git", "hooks", "pre-receive")
	password := ""
	for file, value := range planted {
		if filepath.Base(file) == "git-password" {
			password = value
		}
	}
	header := base64.StdEncoding.EncodeToString([]byte("tandem:" + password))
	script := fmt.Sprintf("#!/bin/sh\necho 'not with %s, Authorization: Basic %s, https://tandem:%s@git.example.com/?token=%s' >&2\nexit 1\n",
		password, header, url.QueryEscape(password), password)
	if err := os.WriteFile(hook, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	push(t, world, "1.2.0")
	waitUpdate(t, world, "not with "+mark)
	if err := os.Remove(hook); err != nil {
		t.Fatal(err)
	}
	release(t, world, "1.3.0")
}

// registryRepeats has the registry refuse a list, and say what it was sent.
func registryRepeats(t *testing.T, world *env.World) {
	t.Helper()
	fault := world.Registry.Inject(registry.Fault{
		Match: func(r *http.Request) bool {
			return r.Header.Get("Authorization") != "" && strings.HasSuffix(r.URL.Path, "/tags/list")
		},
		Answer: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, password, _ := r.BasicAuth()
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":%q}]}`,
				"not with "+password+" in "+r.Header.Get("Authorization")+", "+url.QueryEscape(password))
		}),
	})
	defer fault.Remove()
	waitUpdate(t, world, "not with "+mark)
}

func push(t *testing.T, world *env.World, tag string) {
	t.Helper()
	if _, err := world.Registry.Push(t.Context(), repo, tag, registry.Image{}); err != nil {
		t.Fatal(err)
	}
}

// waitUpdate waits until the automator explains itself, or its images, with a text.
func waitUpdate(t *testing.T, world *env.World, text string) {
	t.Helper()
	client, err := world.Pipelines()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), env.WaitTimeout)
	defer cancel()
	for {
		pipelines, err := client.ListPipelines(ctx, &pipelinev1.ListPipelinesRequest{})
		explained, failed := client.ExplainImage(ctx, &pipelinev1.ExplainImageRequest{Image: "web"})
		if said := pipelines.String() + explained.String(); strings.Contains(said, text) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no %q in time: %v %v\n%s\n%s", text, err, failed, pipelines, explained)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// secretsInGit commits Secrets that are refused for many reasons, then an automation's change of one, and an address with
// credentials in a pipeline.
func secretsInGit(t *testing.T, world *env.World) {
	t.Helper()
	folder := "env/" + site
	commit := func(files map[string]string, signer gitserver.Signer) {
		if _, err := world.Commit(t.Context(), gitserver.Change{Files: files, Message: "Secrets", Author: "Ada <ada@example.com>", Signer: signer}); err != nil {
			t.Fatal(err)
		}
	}
	waits := func(what string, ok func(*statusv1.Sync) bool) {
		if _, err := world.WaitSync(t.Context(), site, env.SampleSync, ok); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	complains := func(parts ...string) func(*statusv1.Sync) bool {
		return func(s *statusv1.Sync) bool {
			var said strings.Builder
			for _, p := range s.GetProblems() {
				said.WriteString(p.GetMessage() + "\n")
			}
			return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(said.String(), part) })
		}
	}
	commit(manifests(folder), world.Human)
	waits("invalid Secrets", complains("not Base64", ".stringData.pin: expected string", "unknown anchor", "Secret/"+world.Sites[site].Namespace+"/pipeline"))

	file := folder + "/secret-applied.yaml"
	commit(map[string]string{file: strings.Replace(manifests(folder)[file], inGit["applied"], inGit["changed"], 1)}, world.Robot)
	waits("a Secret that an automation changes", complains("not an image position"))

	commit(map[string]string{".tandem/other.yaml": "version: 1\napp: other\nimages:\n  - name: web\n    repository: https://ann:" + inGit["address"] +
		"@registry.example.com/web\n    policy: {semver: \"*\"}\nenvironments:\n  - {name: dev, path: env/dev, cluster: dev}\n"}, world.Human)
	waitUpdate(t, world, "other.yaml")
}

// wrongCallers call webhooks and the automator with secrets that do not count here.
func wrongCallers(t *testing.T, world *env.World) {
	t.Helper()
	planted, err := world.Secrets()
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range planted {
		target := world.Webhook() + "/hooks/dockerhub?token=" + url.QueryEscape(value+"x")
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+value+"x")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusUnauthorized {
			t.Fatalf("a wrong secret: %s, %v", response.Status, err)
		}
	}
}

// everything is all that the agents said so far, by what it is.
func everything(t *testing.T, world *env.World) map[string][]byte {
	t.Helper()
	said := map[string][]byte{}
	at := world.Sites[site]
	for name, agent := range map[string]*env.Agent{"automator": world.Automator, "synchronizer": at.Synchronizer} {
		said[name+" metrics"] = get(t, agent)
		said[name+" log"] = read(t, agent.Log())
		said[name+" command line"] = read(t, fmt.Sprintf("/proc/%d/cmdline", agent.ID()))
	}
	if !bytes.Contains(said["automator log"], []byte("debug")) {
		t.Error("the log is not at level debug")
	}
	cluster(t, world, said)
	answers(t, world, said)
	for _, args := range [][]string{
		{"status"},
		{"status", "-o", "json"},
		{"where", "shop"},
		{"explain", "image", "web"},
		{"explain", "image", "web", "-o", "yaml"},
		{"cluster", "list"},
		{"cluster", "rotate"},
		{"cluster", "enroll", site},
		{"--context", site, "status"},
		{"--context", site, "cluster", "list"},
		{"--context", site, "--token-file", filepath.Join(world.Dir(), "keys", "webhook-token"), "status"},
		{"--ca", filepath.Join(world.Dir(), "keys", "git-password"), "status"},
		{"--cert", filepath.Join(world.Dir(), "keys", "robot"), "status"},
	} {
		cmd := exec.CommandContext(t.Context(), world.Program("tandem"), append([]string{"--config", world.CLIConfig()}, args...)...)
		out, _ := cmd.CombinedOutput() // some of them fail, and what they say then counts too
		said["tandem "+strings.Join(args, " ")] = out
	}
	bundles(t, world, said)
	log, err := world.Git.Log(t.Context(), env.Repository, "refs/heads/main")
	if err != nil {
		t.Fatal(err)
	}
	var messages strings.Builder
	for _, commit := range log {
		fmt.Fprintln(&messages, commit.Author, commit.Email, commit.Message)
	}
	said["commit messages"] = []byte(messages.String())
	state(t, filepath.Join(world.Dir(), "automator"), "tandem.db", said)
	state(t, filepath.Join(world.Dir(), site, "state", "events"), "", said)
	return said
}

// bundles reads the files of both support bundles.
func bundles(t *testing.T, world *env.World, said map[string][]byte) {
	t.Helper()
	for name, args := range map[string][]string{
		"tandem":              {"--config", world.CLIConfig(), "support", "bundle", "--file", "-"},
		"tandem-synchronizer": {"support-bundle", "--config", world.Sites[site].Synchronizer.Config()},
	} {
		packed, err := exec.CommandContext(t.Context(), world.Program(name), args...).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		zip, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		files := 0
		for reader := tar.NewReader(zip); ; files++ {
			header, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if said[name+" bundle: "+header.Name], err = io.ReadAll(reader); err != nil {
				t.Fatal(err)
			}
		}
		if files < 6 {
			t.Errorf("the bundle of %s has %d files only", name, files)
		}
	}
}

// cluster reads what the synchronizer wrote into the cluster, but for the objects of Git.
func cluster(t *testing.T, world *env.World, said map[string][]byte) {
	t.Helper()
	for _, resource := range []schema.GroupVersionResource{
		{Group: "tandem.dev", Version: "v1alpha1", Resource: "syncs"}, {Version: "v1", Resource: "events"}, {Version: "v1", Resource: "configmaps"},
	} {
		list, err := world.Dynamic.Resource(resource).Namespace(world.Sites[site].Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if said[resource.Resource], err = list.MarshalJSON(); err != nil {
			t.Fatal(err)
		}
	}
}

// answers asks the status services of both agents.
func answers(t *testing.T, world *env.World, said map[string][]byte) {
	t.Helper()
	fleet, err := world.Status()
	if err != nil {
		t.Fatal(err)
	}
	own, err := world.Sites[site].Status()
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]statusv1.StatusServiceClient{"automator": fleet, "synchronizer": own} {
		namespace := world.Sites[site].Namespace
		syncs, err := client.ListSyncs(t.Context(), &statusv1.ListSyncsRequest{Filter: &statusv1.SyncFilter{Namespace: namespace}})
		if err != nil {
			t.Fatal(err)
		}
		events, err := client.ListEvents(t.Context(), &statusv1.ListEventsRequest{PageSize: 1000, Filter: &statusv1.EventFilter{SyncNamespace: namespace}})
		if err != nil {
			t.Fatal(err)
		}
		said[name+" syncs"], said[name+" events"] = []byte(syncs.String()), []byte(events.String())
	}
}

// state reads files that an agent keeps.
func state(t *testing.T, dir, prefix string, said map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasPrefix(entry.Name(), prefix) {
			return err
		}
		if content := read(t, path); len(content) > 0 {
			said[path] = content
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
