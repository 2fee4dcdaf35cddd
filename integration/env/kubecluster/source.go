package kubecluster

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	kubernetesModule = "k8s.io/kubernetes"
	// keyLength is how much of the source's hash names the cached program.
	keyLength = 12
)

var errNoSource = errors.New("no go.work above the working directory")

// source is the module that links the control plane, and what identifies its
// result.
type source struct {
	dir     string
	version string // of Kubernetes, with its v
	key     string // changes whenever the program would
}

func readSource(dir string) (source, error) {
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return source{}, err
	}
	version, err := requiredVersion(mod, kubernetesModule)
	if err != nil {
		return source{}, fmt.Errorf("read %s: %w", filepath.Join(dir, "go.mod"), err)
	}
	key, err := sourceKey(dir, buildFlags(version))
	if err != nil {
		return source{}, fmt.Errorf("hash %s: %w", dir, err)
	}
	return source{dir: dir, version: version, key: key}, nil
}

// findSource walks up from the working directory to the workspace; tests run
// in their package's folder and the demo somewhere in the tree.
func findSource() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return filepath.Join(dir, "integration", "cluster"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errNoSource
		}
		dir = parent
	}
}

// requiredVersion reads one requirement of a go.mod. The file is ours and
// formatted by the go command, so no parser is needed.
func requiredVersion(mod []byte, module string) (string, error) {
	for lines := bufio.NewScanner(bytes.NewReader(mod)); lines.Scan(); {
		fields := strings.Fields(strings.TrimPrefix(lines.Text(), "require "))
		if len(fields) >= 2 && fields[0] == module && strings.HasPrefix(fields[1], "v") {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("no requirement of %s", module)
}

// sourceKey hashes everything the program is made of: the module files, the
// sources, the flags and the platform.
func sourceKey(dir string, flags []string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.GOOS, runtime.GOARCH, flags)
	for _, pattern := range []string{"go.mod", "go.sum", "*.go"} {
		names, err := fs.Glob(os.DirFS(dir), pattern) // sorted
		if err != nil {
			return "", err
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return "", err
			}
			fmt.Fprintln(sum, name, len(content))
			sum.Write(content)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:keyLength], nil
}
