package gitrepo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// maxPacks is how many packs reads may have to look through. Every fetch that brings something adds one.
const maxPacks = 50

// MaintenanceDue tells whether Maintain is worth its time.
func (r *Repo) MaintenanceDue() bool {
	entries, err := os.ReadDir(filepath.Join(r.gitDir(), "objects", "pack"))
	if err != nil {
		return false
	}
	packs := 0
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".pack") {
			packs++
		}
	}
	return packs > maxPacks
}

// Maintain packs what fetches and commits have left behind and writes the commit graph that makes long walks quick.
// It is for after the first fetch, and for whenever it is due; reads go on meanwhile.
func (r *Repo) Maintain(ctx context.Context) error {
	if r.Algorithm() == 0 {
		return nil
	}
	leave, err := r.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	var failed error
	for _, args := range [][]string{
		{"pack-refs", "--all"},
		{"repack", "-d", "-l", "-q", "--geometric=2", "--no-write-bitmap-index"},
		{"commit-graph", "write", "--reachable", "--changed-paths", "--split", "--no-progress"},
	} {
		_, err := r.run(ctx, command{args: args, timeout: r.cfg.FetchTimeout})
		failed = errors.Join(failed, err)
	}
	return failed
}
