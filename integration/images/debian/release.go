package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"pault.ag/go/debian/control"
	"pault.ag/go/debian/deb"
	"pault.ag/go/debian/dependency"
	"pault.ag/go/debian/version"
)

const (
	// keyring holds the keys of Debian's releases, on every Debian machine.
	keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	// maxUnpackedIndex bounds an index, in bytes; today's is a fifth of it.
	maxUnpackedIndex = 256 << 20
)

// Request is what a layer should hold.
type Request struct {
	// Release is Debian's name of it.
	Release string
	// Architectures are Debian's names, which for ours are Go's too.
	Architectures []string
	// Packages are wanted with all that they depend on, but for what is left out.
	Packages []string
	// LeaveOut are dependencies that nothing here uses.
	LeaveOut []string
}

// suite is a folder of an archive that has an index of its own.
type suite struct{ archive, name string }

// Resolve pins the newest packages of a release, from indices that its signed
// Release files vouch for.
func (f Fetcher) Resolve(ctx context.Context, request Request) (Lock, error) {
	lock := Lock{Release: request.Release, Packages: map[string][]Package{}}
	suites := []suite{
		{mainArchive, request.Release}, {mainArchive, request.Release + "-updates"}, {securityArchive, request.Release + "-security"},
	}
	leftOut := map[string]bool{}
	for _, name := range request.LeaveOut {
		leftOut[name] = true
	}
	for _, architecture := range request.Architectures {
		offered := newIndex()
		for _, s := range suites {
			if err := f.read(ctx, s, architecture, offered); err != nil {
				return Lock{}, fmt.Errorf("index of %s for %s: %w", s.name, architecture, err)
			}
		}
		packages, err := offered.closure(request.Packages, leftOut)
		if err != nil {
			return Lock{}, fmt.Errorf("resolve for %s: %w", architecture, err)
		}
		lock.Packages[architecture] = packages
	}
	return lock, nil
}

// read adds the packages of a suite to an index.
func (f Fetcher) read(ctx context.Context, s suite, architecture string, into index) error {
	sums, err := f.release(ctx, s)
	if err != nil {
		return err
	}
	name := "main/binary-" + architecture + "/Packages.xz"
	sum, ok := sums[name]
	if !ok {
		return fmt.Errorf("the release has no %s", name)
	}
	packed, err := f.get(ctx, s.archive, "dists/"+s.name+"/"+name, maxIndex, Package{SHA256: sum}.verify)
	if err != nil {
		return err
	}
	unpacked, err := deb.DecompressorFor(".xz")(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	defer unpacked.Close()
	return parse(io.LimitReader(unpacked, maxUnpackedIndex), s.archive, into)
}

// release verifies a suite's Release file and returns the hashes in it by name.
func (f Fetcher) release(ctx context.Context, s suite) (map[string]string, error) {
	var verified []byte
	_, err := f.get(ctx, s.archive, "dists/"+s.name+"/InRelease", maxIndex, func(signed []byte) (err error) {
		verified, err = verifySignature(ctx, signed)
		return err
	})
	if err != nil {
		return nil, err
	}
	reader, err := control.NewParagraphReader(bytes.NewReader(verified), nil)
	if err != nil {
		return nil, err
	}
	paragraph, err := reader.Next()
	if err != nil {
		return nil, fmt.Errorf("release file: %w", err)
	}
	sums := map[string]string{}
	for line := range strings.Lines(paragraph.Values["SHA256"]) {
		if words := strings.Fields(line); len(words) == 3 {
			sums[words[2]] = words[0]
		}
	}
	return sums, nil
}

// verifySignature returns what Debian has signed. gpgv is a part of apt.
func verifySignature(ctx context.Context, signed []byte) (content []byte, err error) {
	dir, err := os.MkdirTemp("", "release-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	from, to := filepath.Join(dir, "InRelease"), filepath.Join(dir, "Release")
	if err := os.WriteFile(from, signed, privateMode); err != nil {
		return nil, err
	}
	said, err := exec.CommandContext(ctx, "gpgv", "--keyring", keyring, "--output", to, from).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("verify the release's signature with gpgv and %s (both come with apt on Debian): %w\n%s", keyring, err, said)
	}
	return os.ReadFile(to)
}

// parse reads an index of packages.
func parse(from io.Reader, archive string, into index) error {
	reader, err := control.NewParagraphReader(from, nil)
	if err != nil {
		return err
	}
	for {
		paragraph, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		found, err := read(paragraph.Values, archive)
		if err != nil {
			return fmt.Errorf("package %q: %w", paragraph.Values["Package"], err)
		}
		into.add(found)
	}
}

func read(values map[string]string, archive string) (candidate, error) {
	size, err := strconv.ParseInt(values["Size"], 10, 64)
	if err != nil {
		return candidate{}, err
	}
	parsed, err := version.Parse(values["Version"])
	if err != nil {
		return candidate{}, err
	}
	depends, err := relations(values["Pre-Depends"], values["Depends"])
	if err != nil {
		return candidate{}, err
	}
	provides, err := relations(values["Provides"])
	if err != nil {
		return candidate{}, err
	}
	found := candidate{version: parsed, depends: depends, Package: Package{
		Name: values["Package"], Version: values["Version"], Archive: archive, Path: values["Filename"],
		Size: size, SHA256: values["SHA256"],
	}}
	for _, possible := range provides.GetAllPossibilities() {
		found.provides = append(found.provides, possible.Name)
	}
	return found, nil
}

// relations joins fields that name packages.
func relations(fields ...string) (dependency.Dependency, error) {
	var all dependency.Dependency
	for _, field := range fields {
		if strings.TrimSpace(field) == "" {
			continue
		}
		parsed, err := dependency.Parse(field)
		if err != nil {
			return all, err
		}
		all.Relations = append(all.Relations, parsed.Relations...)
	}
	return all, nil
}
