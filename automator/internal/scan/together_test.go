package scan_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/automator/internal/scan"
	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/automator/internal/webhook"
)

// TestTogether pushes to a real registry, tells a real webhook, and waits for the news: the parts fit, and there is no
// timer in the path.
func TestTogether(t *testing.T) {
	t.Parallel()
	images := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))) //nolint:forbidigo // what the library wants
	defer images.Close()
	host := strings.TrimPrefix(images.URL, "http://")
	send := func(method, url, contentType, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Authorization", "Bearer token")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode >= 300 {
			t.Fatal(resp.Status)
		}
	}
	defer http.DefaultClient.CloseIdleConnections()
	push := func(tag string) {
		t.Helper()
		send(http.MethodPut, images.URL+"/v2/acme/api/manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", fmt.Sprintf(`{"schemaVersion":2,"annotations":{"tag":%q}}`, tag))
	}
	push("1.0.0")

	cache, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "store.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	client, err := registry.New(registry.Config{Hosts: map[string]registry.Host{host: {Insecure: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	changed := make(chan string, 10)
	scanner, err := scan.New(scan.Config{}, scan.Deps{Registry: client, Cache: cache, Log: zap.NewNop(), Changed: func(repository string, _ time.Time) { changed <- repository }})
	if err != nil {
		t.Fatal(err)
	}
	hooks, err := webhook.New(webhook.Config{Callers: []webhook.Caller{{Name: "test", Tokens: []string{"token"}}}, Hosts: map[string]string{"registry": host}}, webhook.Deps{
		FollowsImage: scanner.Follows,
		HintImage:    func(repository, tag string) { scanner.Hint(repository, tag) },
	})
	if err != nil {
		t.Fatal(err)
	}
	hook := httptest.NewServer(hooks)
	defer hook.Close()
	scanner.Follow([]scan.Target{{Repository: host + "/acme/api"}})

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = scanner.Run(ctx) })
	wg.Go(func() { _ = hooks.Run(ctx) })
	<-changed // the first look

	for n := range 3 {
		tag := fmt.Sprintf("1.1.%d", n)
		push(tag)
		began := time.Now()
		send(http.MethodPost, hook.URL+"/hooks/registry", "application/vnd.docker.distribution.events.v2+json",
			fmt.Sprintf(`{"events":[{"action":"push","target":{"repository":"acme/api","tag":%q},"request":{"host":"registry"}}]}`, tag))
		if repository := <-changed; repository != host+"/acme/api" {
			t.Errorf("changed: %s", repository)
		}
		took := time.Since(began)
		digest, err := scanner.Resolve(t.Context(), host+"/acme/api", tag)
		if err != nil || !strings.HasPrefix(digest, "sha256:") {
			t.Errorf("Resolve(%s) = %q, %v", tag, digest, err)
		}
		t.Logf("from notification to news: %s", took)
	}
}
