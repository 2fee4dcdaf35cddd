package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Layer packs the tree, every entry with the same time.
func (t *Tree) Layer(at time.Time) (v1.Layer, error) {
	packed, err := t.tar(at)
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil },
		tarball.WithMediaType(types.OCILayer))
}

func (t *Tree) tar(at time.Time) ([]byte, error) {
	var packed bytes.Buffer
	writer := tar.NewWriter(&packed)
	for _, name := range t.Names() {
		entry := t.entries[name]
		if err := writer.WriteHeader(entry.header(name, at)); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
		if _, err := writer.Write(entry.Content); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	err := writer.Close()
	return packed.Bytes(), err
}

// header leaves out whatever differs between machines: names of users, access
// times, fractions of seconds.
func (e Entry) header(name string, at time.Time) *tar.Header {
	header := &tar.Header{Name: name, Mode: int64(e.Mode.Perm()), Uid: e.Owner, Gid: e.Owner, ModTime: at.UTC().Truncate(time.Second)}
	if name == "tmp" {
		header.Mode |= stickyBit
	}
	switch e.Mode.Type() {
	case fs.ModeDir:
		header.Typeflag, header.Name = tar.TypeDir, name+"/"
	case fs.ModeSymlink:
		header.Typeflag, header.Linkname = tar.TypeSymlink, e.Target
	default:
		header.Typeflag, header.Size = tar.TypeReg, int64(len(e.Content))
	}
	return header
}

// stickyBit keeps users from removing each other's files of /tmp.
const stickyBit = 0o1000

// Unpack writes the tree into a folder, over what is there. Files with an owner
// need root.
func (t *Tree) Unpack(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range t.Names() {
		if err := t.entries[name].write(root, filepath.FromSlash(name)); err != nil {
			return fmt.Errorf("unpack %s: %w", name, err)
		}
	}
	return nil
}

func (e Entry) write(root *os.Root, name string) error {
	switch e.Mode.Type() {
	case fs.ModeDir:
		if err := root.MkdirAll(name, e.Mode.Perm()); err != nil {
			return err
		}
		if err := root.Chmod(name, e.Mode.Perm()); err != nil || e.Owner == 0 { // whatever the umask says
			return err
		}
		return root.Lchown(name, e.Owner, e.Owner)
	case fs.ModeSymlink:
		return root.Symlink(e.Target, name)
	default:
		return root.WriteFile(name, e.Content, e.Mode.Perm())
	}
}
