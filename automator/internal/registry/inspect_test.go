package registry_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/shared/fault"
)

// image makes an image of a platform and a time.
func image(t *testing.T, platform v1.Platform, created time.Time) v1.Image {
	t.Helper()
	config := &v1.ConfigFile{OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant, Created: v1.Time{Time: created}}
	made, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// index makes an index of images for platforms, with an attestation.
func index(t *testing.T, created time.Time, platforms ...v1.Platform) v1.ImageIndex {
	t.Helper()
	var all v1.ImageIndex = empty.Index
	for _, platform := range append(platforms, v1.Platform{OS: "unknown", Architecture: "unknown"}) {
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: image(t, platform, created), Descriptor: v1.Descriptor{Platform: &platform}})
	}
	return all
}

func (w *world) ref(repository, tag string) name.Tag {
	w.t.Helper()
	ref, err := name.NewTag(w.host + "/" + repository + ":" + tag)
	if err != nil {
		w.t.Fatal(err)
	}
	return ref
}

func TestInspect(t *testing.T) {
	t.Parallel()
	created := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	amd := v1.Platform{OS: "linux", Architecture: "amd64"}
	arm := v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	tests := map[string]struct {
		reason string
		push   func(t *testing.T, ref name.Tag) error
		want   registry.Image
	}{
		"Image": {
			"an image of one platform",
			func(t *testing.T, ref name.Tag) error { return remote.Write(ref, image(t, arm, created)) },
			registry.Image{Created: created, Platforms: []string{"linux/arm64/v8"}},
		},
		"Index": {
			"one of several, and an attestation that is none",
			func(t *testing.T, ref name.Tag) error { return remote.WriteIndex(ref, index(t, created, arm, amd)) },
			registry.Image{Created: created, Platforms: []string{"linux/amd64", "linux/arm64/v8"}},
		},
		"Annotated": {
			"an index that says itself when it was made",
			func(t *testing.T, ref name.Tag) error {
				said := map[string]string{"org.opencontainers.image.created": "2026-11-01T13:00:00+01:00"}
				all, _ := mutate.Annotations(index(t, time.Time{}, amd), said).(v1.ImageIndex)
				return remote.WriteIndex(ref, all)
			},
			registry.Image{Created: created, Platforms: []string{"linux/amd64"}},
		},
		"Reproducible": {
			"a time that says nothing",
			func(t *testing.T, ref name.Tag) error { return remote.Write(ref, image(t, amd, time.Unix(0, 0))) },
			registry.Image{Platforms: []string{"linux/amd64"}},
		},
		"EmptyIndex": {
			"an index without images",
			func(_ *testing.T, ref name.Tag) error { return remote.WriteIndex(ref, empty.Index) },
			registry.Image{},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if err := tc.push(t, w.ref("acme/api", "1.0.0")); err != nil {
				t.Fatal(err)
			}
			client := w.client()
			got, err := client.Inspect(t.Context(), w.host+"/acme/api", "1.0.0")
			if err != nil {
				t.Fatal(err)
			}
			digest, err := client.Digest(t.Context(), w.host+"/acme/api", "1.0.0")
			if err != nil || got.Digest != digest {
				t.Errorf("%s: digest %q, want %q, %v", tc.reason, got.Digest, digest, err)
			}
			got.Digest = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: Inspect(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestInspectRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, on("/manifests/huge", func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		chunk := make([]byte, 1<<20)
		for range 20 {
			if _, err := rw.Write(chunk); err != nil {
				break
			}
		}
		return true
	}))
	client := w.client()
	if _, err := client.Inspect(t.Context(), w.host+"/acme/api", "missing"); !fault.Is(err, fault.NotFound) {
		t.Errorf("Inspect(missing): %v, want %v", err, fault.NotFound)
	}
	if _, err := client.Inspect(t.Context(), w.host+"/acme/api", "a b"); !fault.Is(err, fault.Invalid) {
		t.Errorf("Inspect(a b): %v, want %v", err, fault.Invalid)
	}
	if got, err := client.Inspect(t.Context(), w.host+"/acme/api", "huge"); err == nil {
		t.Errorf("Inspect(huge) = %+v, want an error", got)
	}
}
