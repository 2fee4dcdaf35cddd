package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// refName is how an OCI layout names what it holds.
const refName = "org.opencontainers.image.ref.name"

var errForeign = errors.New("holds something that is no OCI layout: choose another folder")

// Built is an image for all its platforms.
type Built struct {
	Spec      Spec
	Stamp     Stamp
	Platforms []Platform
	Index     v1.ImageIndex
	// Digest is the index's.
	Digest v1.Hash
}

// WriteLayout writes the image and its bills of materials as an OCI layout, in
// place of the one that was there.
func (b *Built) WriteLayout(dir string) error {
	if err := removeLayout(dir); err != nil {
		return fmt.Errorf("write %s: %w", dir, err)
	}
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := to.AppendIndex(b.Index, layout.WithAnnotations(map[string]string{refName: b.Stamp.Version})); err != nil {
		return err
	}
	for _, one := range b.Platforms {
		if err := to.AppendImage(one.SBOM); err != nil {
			return err
		}
	}
	return nil
}

// removeLayout removes a layout, and nothing else.
func removeLayout(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err != nil {
		return errForeign
	}
	return os.RemoveAll(dir)
}

// Push writes the image and its bills of materials to a repository below
// prefix, such as ghcr.io/acme, under the version as its tag. It uses the
// credentials of the docker command, and plain HTTP for a loopback address. It
// returns the reference: repository:tag@digest.
func (b *Built) Push(ctx context.Context, prefix string) (string, error) {
	tag, err := name.NewTag(prefix + "/" + b.Spec.Name + ":" + b.Stamp.Version)
	if err != nil {
		return "", fmt.Errorf("push: %w", err)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	if err := remote.WriteIndex(tag, b.Index, options...); err != nil {
		return "", fmt.Errorf("push %s: %w", tag, err)
	}
	for _, one := range b.Platforms {
		digest, err := one.SBOM.Digest()
		if err != nil {
			return "", err
		}
		if err := remote.Write(tag.Digest(digest.String()), one.SBOM, options...); err != nil {
			return "", fmt.Errorf("push the bill of materials of %s: %w", tag, err)
		}
	}
	return tag.String() + "@" + b.Digest.String(), nil
}
