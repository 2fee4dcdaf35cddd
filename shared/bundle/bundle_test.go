package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/bundle"
)

// files reads a bundle.
func files(t *testing.T, raw []byte) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for reader := tar.NewReader(zip); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		found[header.Name] = string(content)
	}
}

func TestBundle(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := bundle.New(&out, "tandem", time.Now())
	for _, err := range []error{
		b.Add("config.yaml", []byte("url: https://ann:hunter2@git.example.com/a\n")),
		b.Collect("status.json", func() ([]byte, error) { return nil, errors.New("nobody answers") }),
		b.Collect("log.txt", func() ([]byte, error) { return []byte("begin" + strings.Repeat("x", 2*bundle.MaxFile) + "end"), nil }),
		b.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	found := files(t, out.Bytes())
	if got := found["tandem/config.yaml"]; got != "url: https://[redacted]@git.example.com/a\n" {
		t.Errorf("config.yaml: %q", got)
	}
	if got := found["tandem/absent.txt"]; got != "status.json: nobody answers\n" {
		t.Errorf("absent.txt: %q", got)
	}
	log := found["tandem/log.txt"]
	if len(log) > bundle.MaxFile || !strings.HasPrefix(log, "begin") || !strings.HasSuffix(log, "end") || !strings.Contains(log, "cut here") {
		t.Errorf("log.txt has %d bytes, %q to %q", len(log), log[:10], log[len(log)-10:])
	}
}

func TestFilesAreBounded(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := bundle.New(&out, "tandem", time.Now())
	for i := range bundle.MaxFiles {
		if err := b.Add(strconv.Itoa(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add("more", nil); err == nil {
		t.Error("Add: no error beyond the limit")
	}
}
