package debian

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/yaml"
)

// The archives that packages come from, as their mirrors name the folders.
const (
	mainArchive     = "debian"
	securityArchive = "debian-security"
)

// Lock pins the packages of one layer. It is a committed file.
type Lock struct {
	// Release is Debian's name of it, such as trixie.
	Release string `json:"release"`
	// Packages are by architecture, and in the order of their names.
	Packages map[string][]Package `json:"packages"`
}

// Package is one pinned package.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Archive is debian or debian-security; Path is below its folder on a mirror.
	Archive string `json:"archive"`
	Path    string `json:"path"`
	// Size is in bytes.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Read decodes a lock file and checks it.
func Read(content []byte) (Lock, error) {
	var lock Lock
	if err := yaml.UnmarshalStrict(content, &lock); err != nil {
		return Lock{}, fmt.Errorf("read lock: %w", err)
	}
	var problems []error
	for architecture, packages := range lock.Packages {
		for _, p := range packages {
			if err := p.check(); err != nil {
				problems = append(problems, fmt.Errorf("lock: %s: %s: %w", architecture, p.Name, err))
			}
		}
	}
	return lock, errors.Join(problems...)
}

// Write encodes a lock file.
func (l Lock) Write() ([]byte, error) {
	content, err := yaml.Marshal(l)
	if err != nil {
		return nil, err
	}
	return append([]byte("# Written by `make images-lock`. Do not edit: every line is what Debian's signed release says.\n"), content...), nil
}

func (p Package) check() error {
	if p.Archive != mainArchive && p.Archive != securityArchive {
		return fmt.Errorf("archive %q is neither %s nor %s", p.Archive, mainArchive, securityArchive)
	}
	if p.Path != path.Clean(p.Path) || !strings.HasPrefix(p.Path, "pool/") {
		return fmt.Errorf("path %q is not below pool/", p.Path)
	}
	if sum, err := hex.DecodeString(p.SHA256); err != nil || len(sum) != 32 {
		return fmt.Errorf("%q is no SHA-256", p.SHA256)
	}
	if p.Size <= 0 || p.Size > maxPackage {
		return fmt.Errorf("size %d is not in 1..%d bytes", p.Size, maxPackage)
	}
	return nil
}
