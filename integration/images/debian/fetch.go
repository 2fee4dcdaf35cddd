package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

const (
	// maxPackage and maxIndex bound a download, in bytes.
	maxPackage = 64 << 20
	maxIndex   = 64 << 20
	// downloads is how many packages are fetched at a time.
	downloads = 4

	folderMode  = 0o755
	privateMode = 0o600
)

var errChecksum = errors.New("is not what the lock pins")

// Fetcher downloads packages. Its zero value keeps nothing and reads the
// machine's configuration of apt.
type Fetcher struct {
	// Cache is a folder that packages are kept in, by their hash.
	Cache string
	// Apt is the folder of apt's configuration, /etc/apt by default.
	Apt fs.FS
	// Client is http.DefaultClient by default.
	Client *http.Client
}

// Fetch returns the content of packages, in their order: from the cache, or from
// the first mirror that has what the lock pins.
func (f Fetcher) Fetch(ctx context.Context, packages []Package) ([][]byte, error) {
	contents := make([][]byte, len(packages))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(downloads)
	for i, p := range packages {
		group.Go(func() (err error) {
			contents[i], err = f.one(ctx, p)
			return err
		})
	}
	err := group.Wait()
	return contents, err
}

func (f Fetcher) one(ctx context.Context, p Package) ([]byte, error) {
	kept := ""
	if f.Cache != "" {
		kept = filepath.Join(f.Cache, p.SHA256+".deb")
		if content, err := os.ReadFile(kept); err == nil && p.matches(content) {
			return content, nil
		}
	}
	content, err := f.get(ctx, p.Archive, p.Path, maxPackage, p.verify)
	if err != nil {
		return nil, fmt.Errorf("fetch %s %s: %w\nDebian's mirrors drop what was superseded: run make images-lock to pin what they have now", p.Name, p.Version, err)
	}
	return content, keep(kept, content)
}

func (p Package) matches(content []byte) bool { return p.verify(content) == nil }

func (p Package) verify(content []byte) error {
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != p.SHA256 {
		return fmt.Errorf("%w: %d bytes with SHA-256 %x, want %d with %s", errChecksum, len(content), sum, p.Size, p.SHA256)
	}
	return nil
}

// keep writes by rename, so that a reader never sees half a package.
func keep(path string, content []byte) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "partial-")
	if err != nil {
		return err
	}
	_, writeErr := file.Write(content)
	if err := errors.Join(writeErr, file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return os.Rename(file.Name(), path)
}

// get asks one mirror of an archive after the other for a file that verify
// accepts. What apt's own mirror answers is told without its name.
func (f Fetcher) get(ctx context.Context, archive, path string, limit int64, verify func([]byte) error) ([]byte, error) {
	apt := f.Apt
	if apt == nil {
		apt = os.DirFS("/etc/apt")
	}
	var errs []error
	for _, m := range mirrors(apt, archive) {
		content, err := f.download(ctx, m.base+path, limit)
		if err == nil {
			err = verify(content)
		} else if m.private {
			err = fmt.Errorf("the mirror that apt is configured with does not serve %s/%s", archive, path)
		}
		if err == nil {
			return content, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (f Fetcher) download(ctx context.Context, address string, limit int64) ([]byte, error) {
	client := f.Client
	if client == nil {
		client = http.DefaultClient
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", address, response.Status)
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("GET %s: more than %d bytes", address, limit)
	}
	return content, err
}
