// Package bundle writes what somebody who helps from afar needs to see, into one file of bounded size.
package bundle

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/tandem-cd/tandem/shared/redact"
)

const (
	// MaxFile bounds one file of a bundle, in bytes; what is longer loses its middle.
	MaxFile = 4 << 20
	// MaxFiles bounds the files of a bundle.
	MaxFiles = 64
)

// cut stands where a file lost its middle.
const cut = "\n[... cut here: the whole is longer than a bundle takes ...]\n"

var errTooManyFiles = errors.New("a bundle takes no more files")

// Bundle is a tar.gz that is being written.
type Bundle struct {
	folder string
	at     time.Time
	files  int
	zip    *gzip.Writer
	tar    *tar.Writer
	absent []byte
}

// New begins a bundle whose files are in one folder.
func New(out io.Writer, folder string, at time.Time) *Bundle {
	zip := gzip.NewWriter(out)
	return &Bundle{folder: folder, at: at.UTC(), zip: zip, tar: tar.NewWriter(zip)}
}

// Add writes a file, without the credentials in its addresses.
func (b *Bundle) Add(name string, content []byte) error {
	if b.files >= MaxFiles {
		return errTooManyFiles
	}
	b.files++
	text := []byte(redact.Addresses(string(content)))
	if len(text) > MaxFile {
		half := (MaxFile - len(cut)) / 2
		text = append(append(text[:half:half], cut...), text[len(text)-half:]...)
	}
	header := &tar.Header{Name: path.Join(b.folder, name), Mode: 0o600, Size: int64(len(text)), ModTime: b.at, Typeflag: tar.TypeReg}
	if err := b.tar.WriteHeader(header); err != nil {
		return err
	}
	_, err := b.tar.Write(text)
	return err
}

// Collect adds what get returns, or notes why it could not be had: what is not well is when bundles are made.
func (b *Bundle) Collect(name string, get func() ([]byte, error)) error {
	content, err := get()
	if err != nil {
		b.absent = fmt.Appendf(b.absent, "%s: %v\n", name, err)
		return nil
	}
	return b.Add(name, content)
}

// Close ends the bundle, with a file absent.txt that says what could not be had and why.
func (b *Bundle) Close() error {
	var err error
	if len(b.absent) > 0 {
		b.files = min(b.files, MaxFiles-1) // there is always room for it
		err = b.Add("absent.txt", b.absent)
	}
	return errors.Join(err, b.tar.Close(), b.zip.Close())
}
