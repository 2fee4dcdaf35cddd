package gitrepo

import (
	"compress/zlib"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// writeObject stores an object as a loose file, as git does; a commit needs a handful of them, and a process for each,
// or one that unpacks a pack, would take longer than all the rest of a commit. It does not sync: what a power failure
// takes is fetched again, from where it was pushed to.
func (r *Repo) writeObject(kind gitobject.Type, content []byte) (gitobject.ID, error) {
	id, err := gitobject.Hash(r.Algorithm(), kind, content)
	if err != nil {
		return gitobject.ID{}, err
	}
	hex := id.String()
	dir := filepath.Join(r.gitDir(), "objects", hex[:2])
	path := filepath.Join(dir, hex[2:])
	if _, err := os.Stat(path); err == nil {
		return id, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return gitobject.ID{}, fmt.Errorf("write %s %s: %w", kind, id, err)
	}
	if err := r.writeLoose(dir, path, kind, content); err != nil {
		return gitobject.ID{}, fmt.Errorf("write %s %s: %w", kind, id, err)
	}
	return id, nil
}

// writeLoose makes the file appear at once and whole. A name of tmp_* is what sweep removes.
func (r *Repo) writeLoose(dir, path string, kind gitobject.Type, content []byte) error {
	file, err := os.CreateTemp(dir, "tmp_obj_")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // unless it has moved
	if err := r.deflate(file, kind, content); err != nil {
		_ = file.Close()
		return err
	}
	if err := file.Chmod(0o444); err != nil {
		_ = file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func (r *Repo) deflate(w io.Writer, kind gitobject.Type, content []byte) error {
	z, ok := r.deflaters.Get().(*zlib.Writer) // making one takes longer than using it
	if !ok {
		z, _ = zlib.NewWriterLevel(w, zlib.BestSpeed) // the level is a constant
	}
	defer r.deflaters.Put(z)
	z.Reset(w)
	if _, err := io.WriteString(z, kind.String()+" "+strconv.Itoa(len(content))+"\x00"); err != nil {
		return err
	}
	if _, err := z.Write(content); err != nil {
		return err
	}
	return z.Close()
}
