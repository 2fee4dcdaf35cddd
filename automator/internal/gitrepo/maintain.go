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

// Commits of our own, and what a lost race fetches, are loose objects at first. As git does it, one folder of 256 stands for
// all: about 7,000 of them are worth a pack.
const (
	looseSample = "17"
	maxLoose    = 27
)

// MaintenanceDue tells whether Maintain is worth its time: once at first, and whenever packs or loose objects have piled up.
func (r *Repo) MaintenanceDue() bool {
	objects := filepath.Join(r.gitDir(), "objects")
	entries, err := os.ReadDir(filepath.Join(objects, "pack"))
	if err != nil {
		return false
	}
	packs := 0
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".pack") {
			packs++
		}
	}
	_, err = os.Stat(filepath.Join(objects, "info", "commit-graphs"))
	return packs > maxPacks || packs > 0 && os.IsNotExist(err) || manyLoose(objects)
}

func manyLoose(objects string) bool {
	sample, err := os.ReadDir(filepath.Join(objects, looseSample))
	return err == nil && len(sample) > maxLoose
}

// Maintain packs what fetches and commits have left behind and writes the commit graph that makes long walks quick. It
// may take minutes; reads, fetches and pushes go on meanwhile.
func (r *Repo) Maintain(ctx context.Context) error {
	if r.Algorithm() == 0 {
		return nil
	}
	failed := r.packRefs(ctx)
	for _, args := range [][]string{
		{"repack", "-d", "-l", "-q", "--geometric=2", "--no-write-bitmap-index"},
		{"commit-graph", "write", "--reachable", "--changed-paths", "--split", "--no-progress"},
	} {
		_, err := r.run(ctx, command{args: args, timeout: r.cfg.FetchTimeout})
		failed = errors.Join(failed, err)
	}
	return failed
}

// packRefs takes the locks of all refs in turn, and so keeps everybody else out.
func (r *Repo) packRefs(ctx context.Context) error {
	leave, err := r.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	_, err = r.run(ctx, command{args: []string{"pack-refs", "--all"}})
	return err
}
