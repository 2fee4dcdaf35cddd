package update_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tandem-cd/tandem/automator/internal/message"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) {
	if crash() {
		return
	}
	goleak.VerifyTestMain(m)
}

// scene is a branch in memory with everything around it.
type scene struct {
	*memory

	t        *testing.T
	pushes   *pushes
	images   *images
	evidence *evidence
	events   *events
	updater  *update.Updater

	signatures update.Signatures
	words      message.Templates
	host       update.Host // nil pushes
}

const (
	api = "registry.test/acme/api"
	web = "registry.test/acme/web"
)

// manifest is a Deployment of one image.
func manifest(name, image string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  template:
    spec:
      containers:
      - name: main
        image: %s # the one that runs
`, name, image)
}

// shop is a pipeline of two images and two environments.
func shop() map[string]string {
	return map[string]string{
		".tandem/shop.yaml": `version: 1
app: shop
images:
- {name: api, repository: registry.test/acme/api}
- {name: web, repository: registry.test/acme/web}
environments:
- {name: dev, path: env/dev, cluster: dev-eu}
- {name: prod, path: env/prod, cluster: prod-eu}
`,
		"env/dev/api.yaml":  manifest("api", pinned(api, "1.0.0")),
		"env/dev/web.yaml":  manifest("web", pinned(web, "1.0.0")),
		"env/prod/api.yaml": manifest("api", pinned(api, "1.0.0")),
		"env/prod/web.yaml": manifest("web", pinned(web, "1.0.0")),
		"README.md":         "hello\n",
	}
}

func pinned(repository, tag string) string {
	return repository + ":" + tag + "@" + digest(repository, tag)
}

// play runs a test in a bubble, where time passes when nothing else happens.
func play(t *testing.T, files map[string]string, test func(s *scene)) {
	t.Helper()
	playWith(t, files, func(*scene) {}, test)
}

// playWith is play in a scene that is prepared first.
func playWith(t *testing.T, files map[string]string, prepare, test func(s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, files)
		s.images.push(api, "1.0.0")
		s.images.push(web, "1.0.0")
		prepare(s)
		s.updater = s.newUpdater()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.updater.Run(ctx) }()
		synctest.Wait()
		test(s)
		cancel()
		<-done
	})
}

func newScene(t *testing.T, files map[string]string) *scene {
	t.Helper()
	s := &scene{memory: newMemory(files), t: t, images: newImages(), evidence: &evidence{}, events: &events{}}
	s.pushes = &pushes{Repository: s.memory}
	s.updater = s.newUpdater()
	return s
}

// newUpdater is a process that knows nothing but Git.
func (s *scene) newUpdater() *update.Updater {
	log, _ := logtest.New(s.t)
	cfg := config()
	cfg.Words = s.words
	return update.New(cfg, update.Deps{
		Repository: s.pushes, Host: s.host, Images: s.images, Signatures: s.signatures, Evidence: s.evidence, Events: s.events, Log: log,
	})
}

func config() update.Config {
	return update.Config{
		Source: revision.Source{Repository: "fleet", Ref: branch}, Name: "Tandem", Email: "tandem@example.com",
	}
}

// wake wakes the loop and waits until it sleeps.
func (s *scene) wake() {
	s.t.Helper()
	s.updater.Wake()
	synctest.Wait()
}

// release pushes a tag to the registry and lets the loop see it.
func (s *scene) release(repository string, tags ...string) {
	s.t.Helper()
	s.images.push(repository, tags...)
	s.wake()
}

// person commits as somebody else, and the mirror learns of it.
func (s *scene) person(message string, changes map[string]string) gitobject.ID {
	s.t.Helper()
	id := s.foreign(message, changes)
	_ = s.FetchRef(s.t.Context(), branch)
	s.wake()
	return id
}

// has checks what the remote's files have, by file.
func (s *scene) has(want map[string]string) {
	s.t.Helper()
	_, files, _ := s.at()
	for name, image := range want {
		if diff := cmp.Diff(manifest(strings.TrimSuffix(name[strings.LastIndex(name, "/")+1:], ".yaml"), image), files[name]); diff != "" {
			s.t.Errorf("%s: -want, +got:\n%s", name, diff)
		}
	}
}

// titles are the first lines of the remote's commits, oldest first, without the very first.
func (s *scene) titles() []string {
	_, _, history := s.at()
	var titles []string
	for i := len(history) - 2; i >= 0; i-- {
		title, _, _ := strings.Cut(history[i].Message, "\n")
		titles = append(titles, title)
	}
	return titles
}

func (s *scene) titled(want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.titles()); diff != "" {
		s.t.Errorf("commits: -want, +got:\n%s", diff)
	}
}

func (s *scene) told(state update.State, want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.events.seen(state)); diff != "" {
		s.t.Errorf("%s: -want, +got:\n%s", state, diff)
	}
}

// problems are what the status shows.
func (s *scene) problems() []string {
	var lines []string
	for _, p := range s.updater.Status().Problems {
		lines = append(lines, p.String())
	}
	return lines
}
