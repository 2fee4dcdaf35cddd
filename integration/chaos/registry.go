package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/registry"
)

func registryStories() []Story {
	return []Story{{
		Name: "registry-lies",
		What: "The registry answers with garbage, junk among the tags, tags that vanish or never end, and digests of nothing.",
		// The shortest interval that the automator takes: lists are lied about too, and no webhook asks for one.
		Options: func(o *env.Options) { o.ScanInterval = 10 * time.Second },
		Tell:    registryLies,
	}}
}

// lie is an answer of the registry, and how often it is heard before the registry comes to its senses.
type lie struct {
	name  string
	match func(*http.Request) bool
	heard int
	tell  http.HandlerFunc
}

func lies() []lie {
	manifests := func(r *http.Request) bool { return asks(r) && strings.Contains(r.URL.Path, "/manifests/") }
	lists := func(r *http.Request) bool { return asks(r) && strings.HasSuffix(r.URL.Path, "/tags/list") }
	return []lie{
		{"200 with a page for people", asks, 2, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html><body>Please sign in.</body></html>")
		}},
		{"a digest that is none", manifests, 2, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", "sha256:../../etc/passwd")
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		}},
		{"a digest that the registry does not have", func(r *http.Request) bool {
			return manifests(r) && !strings.Contains(r.URL.Path, "/sha256:")
		}, 2, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("ab", 32))
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Content-Length", "500")
		}},
		{"junk among the tags", lists, 2, listing(junk()...)},
		{"all tags have vanished", lists, 2, listing()},
		{"a list that never ends", lists, 20, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<"+r.URL.Path+"?n=2&last=0.0.1>; rel=\"next\"")
			listing("0.0.1", "0.0.2")(w, r)
		}},
	}
}

// manyTags is how many tags the junk has besides what is said in words.
const manyTags = 2000

// junk are tags that no client would push, and one that would be the newest if it were there.
func junk() []string {
	tags := []string{"", ".", "../../etc", "1.999.0", "v1.5.0+meta", "1.5.0 ", "１.５.０", "latest", "1.5.0@sha256:abc", strings.Repeat("9", 300)}
	for i := range manyTags {
		tags = append(tags, fmt.Sprintf("0.0.%d", i), "0.0.1")
	}
	return tags
}

func listing(tags ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"name": image, "tags": tags}) // a client that has gone asked for nothing
	}
}

func registryLies(ctx context.Context, s *Scene) error {
	for _, l := range lies() {
		fault := s.World.Registry.Inject(registry.Fault{Match: l.match, Answer: l.tell})
		if err := s.Release(ctx); err != nil {
			return err
		}
		err := s.Until(ctx, "the lie is heard: "+l.name, func(context.Context) (bool, error) { return fault.Hits() >= l.heard, nil })
		fault.Remove()
		if err != nil {
			return err
		}
		s.Over()
		if err := s.Converged(ctx, "%s", l.name); err != nil {
			return err
		}
	}
	return nil
}
