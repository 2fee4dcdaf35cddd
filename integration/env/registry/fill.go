package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// storageRoot is where distribution keeps repositories and blobs below its root directory.
const storageRoot = "docker/registry/v2"

var errInMemory = errors.New("the images are in memory: set Options.Dir")

// Fill gives an image that was pushed more tags, in its own repository or in another one, by writing the files that
// distribution would write. It is for numbers of tags that would take too long to push, needs Options.Dir, and notifies
// nobody.
func (r *Registry) Fill(ctx context.Context, pushed Pushed, repo string, tags []string) error {
	if r.opts.Dir == "" {
		return fmt.Errorf("fill %s: %w", repo, errInMemory)
	}
	blobs, err := r.blobsOf(ctx, pushed)
	if err != nil {
		return fmt.Errorf("fill %s: %w", repo, err)
	}
	folder := filepath.Join(r.opts.Dir, filepath.FromSlash(storageRoot), "repositories", filepath.FromSlash(repo))
	for _, blob := range blobs {
		if err := writeLink(filepath.Join(folder, "_layers", linkFolder(blob)), blob); err != nil {
			return err
		}
	}
	manifests := filepath.Join(folder, "_manifests")
	if err := writeLink(filepath.Join(manifests, "revisions", linkFolder(pushed.Digest)), pushed.Digest); err != nil {
		return err
	}
	for _, tag := range tags {
		if err := writeLink(filepath.Join(manifests, "tags", tag, "current"), pushed.Digest); err != nil {
			return err
		}
	}
	return nil
}

// blobsOf are the configuration and the layers of an image.
func (r *Registry) blobsOf(ctx context.Context, pushed Pushed) ([]string, error) {
	ref, err := name.NewDigest(pushed.Repository + "@" + pushed.Digest)
	if err != nil {
		return nil, err
	}
	image, err := remote.Image(ref, r.remoteOptions(ctx, r.transport)...)
	if err != nil {
		return nil, err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	blobs := []string{manifest.Config.Digest.String()}
	for _, layer := range manifest.Layers {
		blobs = append(blobs, layer.Digest.String())
	}
	return blobs, nil
}

// linkFolder is sha256/<hex>.
func linkFolder(digest string) string {
	return strings.Replace(digest, ":", string(filepath.Separator), 1)
}

func writeLink(folder, digest string) error {
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "link"), []byte(digest), privateMode)
}
