package evidence

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tandem-cd/tandem/shared/signature"
)

// Limits on what is kept.
const (
	// maxFiles bounds the images, and maxFolder their bytes; the ones that were used longest ago go first.
	maxFiles  = 1000
	maxFolder = 64 << 20
	// maxFile bounds what is read of one, in bytes.
	maxFile = 8 << 20
)

// folder keeps signatures of images, one image a file. What is read from it is checked as if the automator had sent it, so that
// nobody gains anything by writing there.
type folder struct{ dir string }

func (f folder) path(image signature.Image) string {
	sum := sha256.Sum256([]byte(image.Repository + "@" + image.Digest))
	return filepath.Join(f.dir, hex.EncodeToString(sum[:]))
}

// load returns what is kept of an image. A file that cannot be read counts as none.
func (f folder) load(image signature.Image) (m signature.Material, found bool) {
	path := f.path(image)
	file, err := os.Open(path)
	if err != nil {
		return m, false
	}
	defer file.Close()
	if err := json.NewDecoder(io.LimitReader(file, maxFile)).Decode(&m); err != nil {
		return signature.Material{}, false
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // else it may go before others
	return m, true
}

// save keeps what an image is signed by, and removes what is too much.
func (f folder) save(image signature.Image, m signature.Material) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(f.dir, "new-")
	if err != nil {
		return err
	}
	_, err = temporary.Write(text)
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), f.path(image))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", f.dir, err), os.Remove(temporary.Name()))
	}
	return f.prune()
}

// prune removes the oldest files that are too many.
func (f folder) prune() error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	var files []fs.FileInfo
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil { // else it is gone already
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	var total int64
	var problems []error
	for i, file := range files {
		if total += file.Size(); i < maxFiles && total <= maxFolder {
			continue
		}
		if err := os.Remove(filepath.Join(f.dir, file.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
