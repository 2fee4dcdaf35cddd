// Package source finds the source tree, which tests and programs run inside of.
package source

import (
	"errors"
	"os"
	"path/filepath"
)

var errNone = errors.New("no go.work above the working directory: run this inside the source tree")

// Dir is the folder of go.work; tests run in their package's folder and programs
// anywhere in the tree.
func Dir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errNone
		}
		dir = parent
	}
}
