package images_test

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/tandem-cd/tandem/integration/env/registry"
	"github.com/tandem-cd/tandem/integration/images"
	"github.com/tandem-cd/tandem/integration/images/debian"
)

// host is the platform that costs least to build for.
const host = "linux/" + runtime.GOARCH

func build(t *testing.T, platform string, spec images.Spec) *images.Built {
	t.Helper()
	builder, err := images.NewBuilder(t.Context(), images.Options{Platforms: []string{platform}})
	if err != nil {
		t.Fatal(err)
	}
	built, err := builder.Build(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// file reads one file of an image, as a container would see it.
func file(t *testing.T, image v1.Image, path string) []byte {
	t.Helper()
	flat := mutate.Extract(image)
	defer flat.Close()
	for reader := tar.NewReader(flat); ; {
		header, err := reader.Next()
		if err != nil {
			t.Fatalf("find %s in the image: %v", path, err)
		}
		if header.Name != path {
			continue
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
}

// TestImage builds the smallest image once and looks at it from all sides.
func TestImage(t *testing.T) {
	built := build(t, host, images.Smallest())
	image := built.Platforms[0].Image
	t.Run("Valid", func(t *testing.T) {
		if err := validate.Index(built.Index); err != nil {
			t.Error(err)
		}
		if err := validate.Image(built.Platforms[0].SBOM); err != nil {
			t.Errorf("bill of materials: %v", err)
		}
	})
	t.Run("Config", func(t *testing.T) { checkConfig(t, image, runtime.GOARCH) })
	t.Run("Reproducible", func(t *testing.T) {
		if again := build(t, host, images.Smallest()); again.Digest != built.Digest {
			t.Errorf("built again: %s, want %s", again.Digest, built.Digest)
		}
	})
	t.Run("SBOM", func(t *testing.T) { checkSBOM(t, built) })
	t.Run("Layout", func(t *testing.T) { checkLayout(t, built) })
	t.Run("Push", func(t *testing.T) { checkPush(t, built) })
}

func checkConfig(t *testing.T, image v1.Image, architecture string) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got := []string{config.OS, config.Architecture, config.Config.User, strings.Join(config.Config.Entrypoint, " ")}
	if diff := cmp.Diff([]string{"linux", architecture, "65532:65532", "/usr/bin/tandem"}, got); diff != "" {
		t.Errorf("config: -want, +got\n%s", diff)
	}
	for _, label := range []string{"title", "description", "version", "revision", "created", "source", "licenses"} {
		if config.Config.Labels["org.opencontainers.image."+label] == "" {
			t.Errorf("no label %s", label)
		}
	}
	program, err := elf.NewFile(bytes.NewReader(file(t, image, "usr/bin/tandem")))
	if err != nil {
		t.Fatal(err)
	}
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	if program.Machine != machines[architecture] {
		t.Errorf("program is for %v, want %v", program.Machine, machines[architecture])
	}
	if program.Section(".interp") != nil {
		t.Error("program wants a dynamic linker, and the image has none")
	}
}

func TestOtherArchitecture(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles everything for another architecture, which takes minutes; make images-test does it")
	}
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	checkConfig(t, build(t, "linux/"+other, images.Smallest()).Platforms[0].Image, other)
}

// TestTimeIsInTheDigest: what the comparison above compares can differ.
func TestTimeIsInTheDigest(t *testing.T) {
	builder, err := images.NewBuilder(t.Context(), images.Options{Platforms: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, at := range []time.Time{time.Unix(1, 0), time.Unix(2, 0)} {
		builder.At(at)
		built, err := builder.Build(t.Context(), images.Smallest())
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, built.Digest.String())
	}
	if digests[0] == digests[1] {
		t.Error("images of two times have one digest")
	}
}

func TestSourceDateEpoch(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	builder, err := images.NewBuilder(t.Context(), images.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := builder.Stamp().Created.Unix(); got != 1_700_000_000 {
		t.Errorf("created %d, want what the variable says", got)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := images.NewBuilder(t.Context(), images.Options{}); err == nil {
		t.Error("a time that is none: no error")
	}
}

// spdx is what the tests read of a bill of materials.
type spdx struct {
	SPDXVersion string `json:"spdxVersion"`
	Packages    []struct {
		Name    string `json:"name"`
		ID      string `json:"SPDXID"`
		Version string `json:"versionInfo"`
	} `json:"packages"`
	Relationships []struct {
		From string `json:"spdxElementId"`
		To   string `json:"relatedSpdxElement"`
	} `json:"relationships"`
}

func checkSBOM(t *testing.T, built *images.Built) {
	t.Helper()
	content := file(t, built.Platforms[0].Image, "usr/share/sbom/tandem.spdx.json")
	layers, err := built.Platforms[0].SBOM.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("artifact has %d layers, %v, want one", len(layers), err)
	}
	if attached, err := layers[0].Digest(); err != nil || attached.Hex != sum(t, content) {
		t.Errorf("what is attached is not what is in the image: %v, %v", attached, err)
	}
	var bill spdx
	if err := json.Unmarshal(content, &bill); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"SPDXRef-DOCUMENT": true}
	var names []string
	for _, p := range bill.Packages {
		if known[p.ID] || p.Version == "" {
			t.Errorf("%s: identifier %s twice, or no version %q", p.Name, p.ID, p.Version)
		}
		known[p.ID] = true
		names = append(names, p.Name)
	}
	for _, relation := range bill.Relationships {
		if !known[relation.From] || !known[relation.To] {
			t.Errorf("relationship %v names what is not there", relation)
		}
	}
	for _, want := range []string{"tandem", "stdlib", "google.golang.org/grpc", "github.com/tandem-cd/tandem/shared"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is linked in and not in the bill", want)
		}
	}
}

func sum(t *testing.T, content []byte) string {
	t.Helper()
	hash, _, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return hash.Hex
}

func checkLayout(t *testing.T, built *images.Built) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tandem")
	for range 2 { // over itself, too
		if err := built.WriteLayout(dir); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 || manifest.Manifests[0].Digest != built.Digest {
		t.Errorf("layout holds %v, %v, want the image and its bill", manifest.Manifests, err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := built.WriteLayout(foreign); err == nil {
		t.Error("a folder of somebody else's was overwritten")
	}
}

func checkPush(t *testing.T, built *images.Built) {
	t.Helper()
	server, err := registry.Start(registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	pushed, err := built.Push(t.Context(), server.Host()+"/acme")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(pushed)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	subject, err := built.Platforms[0].Image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	referrers, err := remote.Referrers(ref.Context().Digest(subject.String()))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := referrers.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].ArtifactType != "application/spdx+json" {
		t.Errorf("referrers of the image: %+v, %v, want its bill of materials", manifest, err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("debian.lock.yaml")
	if err != nil {
		t.Fatal(err)
	}
	lock, err := debian.Read(content)
	if err != nil {
		t.Fatal(err)
	}
	names := func(architecture string) (list []string) {
		for _, p := range lock.Packages[architecture] {
			list = append(list, p.Name)
		}
		return list
	}
	if diff := cmp.Diff(names("amd64"), names("arm64")); diff != "" {
		t.Errorf("the architectures hold other packages: -amd64, +arm64\n%s", diff)
	}
	for _, want := range []string{"git", "openssh-client", "ca-certificates", "libc6"} {
		if !slices.Contains(names("amd64"), want) {
			t.Errorf("%s is not pinned", want)
		}
	}
}

func TestPlatformIsChecked(t *testing.T) {
	t.Parallel()
	for _, platform := range []string{"linux/riscv64", "windows/amd64", "linux", "/"} {
		if _, err := images.NewBuilder(t.Context(), images.Options{Platforms: []string{platform}}); err == nil {
			t.Errorf("platform %q: no error", platform)
		}
	}
}
