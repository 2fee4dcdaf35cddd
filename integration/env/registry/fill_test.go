package registry_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tandem-cd/tandem/integration/env/registry"
)

// What was written behind the registry's back is there for its clients, whole.
func TestFill(t *testing.T) {
	t.Parallel()
	reg := start(t, registry.Options{Dir: t.TempDir()})
	pushed := push(t, reg, "1.0.0", registry.Image{Labels: map[string]string{"commit": "abc"}})
	var tags []string
	for i := range 20 {
		tags = append(tags, fmt.Sprintf("2.%02d.0", i))
	}
	if err := reg.Fill(t.Context(), pushed, "team/other", tags); err != nil {
		t.Fatal(err)
	}
	other, err := name.NewRepository(reg.Repository("team/other"))
	if err != nil {
		t.Fatal(err)
	}
	listed, err := remote.List(other, options(t)...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tags, listed); diff != "" {
		t.Errorf("tags: -want, +got:\n%s", diff)
	}
	image, err := remote.Image(other.Tag("2.07.0"), options(t)...)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil || config.Config.Labels["commit"] != "abc" {
		t.Errorf("configuration: %+v, %v", config, err)
	}
	if digest, err := image.Digest(); err != nil || digest.String() != pushed.Digest {
		t.Errorf("digest: got %s, %v, want %s", digest, err, pushed.Digest)
	}
}

func TestFillNeedsFiles(t *testing.T) {
	t.Parallel()
	reg := start(t, registry.Options{})
	if err := reg.Fill(t.Context(), push(t, reg, "1.0.0", registry.Image{}), repo, []string{"1.0.1"}); err == nil {
		t.Error("images in memory were filled")
	}
}
