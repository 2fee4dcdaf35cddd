package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// complete is set once every package of the map exists. From then on an entry
// or an exception that matches nothing fails its rule: a rule about nothing
// proves nothing.
const complete = false

// prefix stands before every package of the workspace.
const prefix = "github.com/tandem-cd/tandem/"

// modules are those of go.work, in the order of the dependency rule.
var modules = []string{"proto", "shared", "automator", "synchronizer", "integration"}

// pkg is what the rules need to know about a package; imports are full paths.
type pkg struct {
	path         string // below the repository's root: shared/run
	doc          string
	dir          string
	files        []string // without tests
	imports      []string
	testImports  []string
	dependencies []string // imports, and theirs
}

func (p pkg) generated() bool { return strings.HasPrefix(p.path, "proto/gen/") }

// root is the folder of go.work.
var root = sync.OnceValue(func() string {
	out, err := exec.Command("go", "env", "GOWORK").Output()
	if err != nil || strings.TrimSpace(string(out)) == "" {
		panic("the rules look at the whole workspace: run them without GOWORK=off")
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
})

// packages lists the workspace's packages that have more than tests, and those
// that have nothing else.
func packages(t *testing.T) []pkg {
	t.Helper()
	list, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Fatal("go list found no packages")
	}
	return list
}

var listed = sync.OnceValues(func() ([]pkg, error) {
	// -e: a package that does not compile is the compiler's to report.
	args := []string{"list", "-e", "-json=ImportPath,Dir,Doc,GoFiles,CgoFiles,Imports,TestImports,XTestImports,Deps"}
	for _, module := range modules {
		args = append(args, "./"+module+"/...")
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root()
	out, err := cmd.Output()
	if err != nil {
		return nil, failure(err)
	}
	var list []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var one struct {
			ImportPath, Dir, Doc                                        string
			GoFiles, CgoFiles, Imports, TestImports, XTestImports, Deps []string
		}
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, pkg{
			path:         strings.TrimPrefix(one.ImportPath, prefix),
			doc:          one.Doc,
			dir:          one.Dir,
			files:        append(one.GoFiles, one.CgoFiles...),
			imports:      one.Imports,
			testImports:  append(one.TestImports, one.XTestImports...),
			dependencies: one.Deps,
		})
	}
})

// run returns what a program says about the repository.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), failure(err))
	}
	return out
}

// failure adds what the program said to its exit code.
func failure(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return errors.Join(err, errors.New(string(exit.Stderr)))
	}
	return err
}

// read returns a file of the repository.
func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root(), path))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// below tells whether a path is that folder, or in it.
func below(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}
