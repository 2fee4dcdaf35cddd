package objects

import (
	"fmt"
	"os"
	"path/filepath"
)

// scratches is what folders of scratch stores are called, beside the folder of the store below.
const scratches = ".scratch-"

// Scratch returns a store on top of this one: what is put into it stays apart and is gone with drop, and what it lacks is
// read from below.
func (s *Store) Scratch() (scratch *Store, drop func() error, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(s.dir), filepath.Base(s.dir)+scratches)
	if err != nil {
		return nil, nil, fmt.Errorf("open scratch store: %w", err)
	}
	if scratch, err = Open(dir); err != nil {
		return nil, nil, err
	}
	scratch.below = s
	return scratch, func() error { return os.RemoveAll(dir) }, nil
}

// forgetScratches removes what a process that was killed left behind.
func forgetScratches(dir string) error {
	left, err := filepath.Glob(dir + scratches + "*")
	for _, folder := range left {
		if err == nil {
			err = os.RemoveAll(folder)
		}
	}
	return err
}
