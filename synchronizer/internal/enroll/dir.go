package enroll

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/fault"
)

// Dir is a vault in a folder, for synchronizers that run outside of their cluster.
type Dir string

// String says where it is.
func (d Dir) String() string { return "folder " + string(d) }

// Load returns what is kept.
func (d Dir) Load(context.Context) (Kept, error) {
	files := map[string][]byte{}
	for _, name := range []string{keyName, certificateName, caName, tokenName} {
		text, err := config.ReadSecret(filepath.Join(string(d), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Kept{}, fmt.Errorf("%s: %w", d, err)
		}
		files[name] = []byte(text + "\n")
		if name == tokenName {
			files[name] = []byte(text)
		}
	}
	kept, err := decode(files)
	if err != nil {
		return Kept{}, fmt.Errorf("%s: %w", d, err)
	}
	kept.Version = versionOf(files)
	return kept, nil
}

func versionOf(files map[string][]byte) string {
	hash := sha256.New()
	for _, name := range []string{keyName, certificateName, caName, tokenName} {
		fmt.Fprintf(hash, "%d %s", len(files[name]), files[name])
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

// Save replaces what is kept, the key first: a certificate without its key counts as none.
func (d Dir) Save(ctx context.Context, kept Kept) error {
	now, err := d.Load(ctx)
	if err != nil {
		return err
	}
	if now.Version != kept.Version {
		return fault.New(fault.Conflict, "%s has changed meanwhile", d)
	}
	files, err := kept.encode()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	for _, name := range []string{keyName, caName, certificateName, tokenName} {
		if err := d.write(name, files[name]); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	return nil
}

// write replaces a file in one step; nothing to write removes it.
func (d Dir) write(name string, content []byte) error {
	path := filepath.Join(string(d), name)
	if len(content) == 0 {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	file, err := os.CreateTemp(string(d), name+".*") // readable by us alone
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
