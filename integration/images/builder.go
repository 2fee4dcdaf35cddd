package images

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tandem-cd/tandem/integration/env/cache"
	"github.com/tandem-cd/tandem/integration/env/source"
	"github.com/tandem-cd/tandem/integration/images/debian"
	"github.com/tandem-cd/tandem/integration/images/layer"
)

// LockFile is where the pins of Debian packages are, from the source tree's root.
const LockFile = "integration/images/debian.lock.yaml"

//go:embed debian.lock.yaml
var lockFile []byte

// Options choose what is built. The zero value builds this source tree for all
// Platforms.
type Options struct {
	// Platforms such as linux/arm64.
	Platforms []string
	// Progress hears what takes its time, a line each.
	Progress func(string)
}

// Builder builds images of one source tree at one commit.
type Builder struct {
	source    string
	stamp     Stamp
	lock      debian.Lock
	fetcher   debian.Fetcher
	platforms []v1.Platform
	progress  func(string)
}

// NewBuilder reads the commit that images are stamped with and the pins.
func NewBuilder(ctx context.Context, opts Options) (*Builder, error) {
	b := &Builder{progress: opts.Progress}
	if b.progress == nil {
		b.progress = func(string) {}
	}
	kept, cacheErr := cache.Dir()
	root, sourceErr := source.Dir()
	lock, lockErr := debian.Read(lockFile)
	if err := errors.Join(cacheErr, sourceErr, lockErr); err != nil {
		return nil, err
	}
	b.source, b.lock, b.fetcher.Cache = root, lock, filepath.Join(kept, "debian")
	platforms := opts.Platforms
	if len(platforms) == 0 {
		platforms = Platforms()
	}
	for _, name := range platforms {
		platform, err := v1.ParsePlatform(name)
		if err != nil || platform.OS != "linux" || lock.Packages[platform.Architecture] == nil {
			return nil, fmt.Errorf("platform %q is not one of %s", name, strings.Join(Platforms(), ", "))
		}
		b.platforms = append(b.platforms, v1.Platform{OS: platform.OS, Architecture: platform.Architecture})
	}
	var err error
	b.stamp, err = readStamp(ctx, root)
	return b, err
}

// Stamp is what the images say about where they come from.
func (b *Builder) Stamp() Stamp { return b.stamp }

// At lets images carry another time than the commit's.
func (b *Builder) At(created time.Time) { b.stamp.Created = created.UTC() }

// Build builds an image for every platform.
func (b *Builder) Build(ctx context.Context, spec Spec) (*Built, error) {
	built := &Built{Spec: spec, Stamp: b.stamp}
	for _, platform := range b.platforms {
		b.progress(fmt.Sprintf("building %s for %s", spec.Name, platform))
		one, err := b.platform(ctx, spec, platform)
		if err != nil {
			return nil, fmt.Errorf("image %s for %s: %w", spec.Name, platform, err)
		}
		built.Platforms = append(built.Platforms, one)
	}
	return built, built.index()
}

func (b *Builder) platform(ctx context.Context, spec Spec, platform v1.Platform) (Platform, error) {
	programs, err := b.compile(ctx, spec.Programs, platform)
	if err != nil {
		return Platform{}, err
	}
	var packages []debian.Package
	var trees []*layer.Tree
	if spec.Debian {
		packages = b.lock.Packages[platform.Architecture]
		tree, err := b.packages(ctx, packages)
		if err != nil {
			return Platform{}, err
		}
		trees = append(trees, tree)
	}
	sbom, err := bill(spec, b.stamp, platform, programs, packages)
	if err != nil {
		return Platform{}, err
	}
	own, err := ownFiles(spec, programs, sbom)
	if err != nil {
		return Platform{}, err
	}
	return assemble(spec, b.stamp, platform, append(trees, own), sbom)
}

// packages is the tree of the pinned packages, alike for all versions of ours, so
// that registries and nodes keep it once.
func (b *Builder) packages(ctx context.Context, pinned []debian.Package) (*layer.Tree, error) {
	contents, err := b.fetcher.Fetch(ctx, pinned)
	if err != nil {
		return nil, err
	}
	tree := &layer.Tree{}
	if err := debian.Prepare(tree); err != nil {
		return nil, err
	}
	if err := debian.Unpack(tree, contents...); err != nil {
		return nil, err
	}
	return tree, debian.Finish(tree)
}

// ownFiles is the tree of the programs, the user they run as, and the folders
// that are that user's.
func ownFiles(spec Spec, programs []program, sbom []byte) (*layer.Tree, error) {
	tree := &layer.Tree{}
	errs := []error{
		tree.File("etc/passwd", []byte(users)),
		tree.File("etc/group", []byte(groups)),
		tree.File(sbomFolder+spec.Name+".spdx.json", sbom),
		tree.Add("tmp", layer.Entry{Mode: fs.ModeDir | 0o777}),
		tree.Add(homeFolder, layer.Entry{Mode: fs.ModeDir | 0o750, Owner: UserID}),
		tree.Add(stateFolder, layer.Entry{Mode: fs.ModeDir | 0o750, Owner: UserID}),
	}
	for _, p := range programs {
		errs = append(errs, tree.Program(programFolder+p.name, p.content))
	}
	return tree, errors.Join(errs...)
}

// Tree is what the root of an image would hold, for tests that run its programs
// without a container.
func (b *Builder) Tree(ctx context.Context, spec Spec) ([]*layer.Tree, error) {
	platform := b.platforms[0]
	programs, err := b.compile(ctx, spec.Programs, platform)
	if err != nil {
		return nil, err
	}
	own, err := ownFiles(spec, programs, nil)
	if err != nil || !spec.Debian {
		return []*layer.Tree{own}, err
	}
	packages, err := b.packages(ctx, b.lock.Packages[platform.Architecture])
	return []*layer.Tree{packages, own}, err
}
