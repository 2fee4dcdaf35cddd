package render

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// Reader reads a tree of Git.
type Reader interface {
	gitobject.TreeReader
	gitobject.BlobReader
}

// Tree reads the manifests at or below a folder of a tree. What before holds of files that did not change is taken from
// there. The error is for a tree as a whole: then nothing is known of what it holds.
func Tree(ctx context.Context, git Reader, root gitobject.ID, folder string, before *Result) (Result, error) {
	_, found, err := gitobject.Lookup(ctx, git, root, folder)
	if err != nil {
		return Result{}, err
	}
	if !found {
		return Result{}, fault.New(fault.NotFound, "path %q does not exist in this commit; nothing is removed until it does, or the Sync names another", folder)
	}
	r := &reading{git: git, folder: folder, before: before, out: Result{Broken: map[string]bool{}, files: map[string]parsed{}}}
	if before != nil { // about as many
		r.out.Objects, r.out.files = make([]Desired, 0, len(before.Objects)+len(before.Objects)/8), make(map[string]parsed, len(before.files))
	}
	err = gitobject.Diff(ctx, git, gitobject.ID{}, root, []string{folder}, func(c gitobject.Change) error { return r.file(ctx, c) })
	r.out.Objects = exactly(r.out.Objects)
	return r.out, err
}

// exactly returns the same objects without room for more, when there is much of that: they are kept for as long as the Sync is.
func exactly(objects []Desired) []Desired {
	if room := cap(objects) - len(objects); room <= cap(objects)/8 {
		return objects
	}
	return append(make([]Desired, 0, len(objects)), objects...)
}

// reading is one Tree under way.
type reading struct {
	git    Reader
	folder string
	before *Result
	out    Result
}

func (r *reading) file(ctx context.Context, c gitobject.Change) error {
	if !r.isManifest(c.Path) {
		return nil
	}
	if len(r.out.files) >= MaxFiles {
		return fault.New(fault.Invalid, "path %q holds more than %d manifests; split it into several Syncs", r.folder, MaxFiles)
	}
	p, err := r.parse(ctx, c)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	r.out.files[c.Path] = p
	r.out.Objects = append(r.out.Objects, p.objects...)
	if len(r.out.Objects) > MaxObjects {
		return fault.New(fault.Invalid, "path %q holds more than %d objects; split it into several Syncs", r.folder, MaxObjects)
	}
	for _, problem := range p.problems {
		r.out.broken(problem)
	}
	return nil
}

// broken notes a problem and that its file could not be used in full.
func (r *Result) broken(p Problem) {
	r.Broken[p.File] = true
	if len(r.Problems) < MaxProblems {
		r.Problems = append(r.Problems, p)
	}
}

// isManifest leaves out what is hidden and what has another ending.
func (r *reading) isManifest(name string) bool {
	below := strings.TrimPrefix(strings.TrimPrefix(name, r.folder), "/")
	if strings.HasPrefix(below, ".") || strings.Contains(below, "/.") {
		return false
	}
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

func (r *reading) parse(ctx context.Context, c gitobject.Change) (parsed, error) {
	switch c.To.Mode {
	case gitobject.ModeGitlink:
		return refused(c.Path, "is a Git submodule, whose content is in another repository; commit the files themselves"), nil
	case gitobject.ModeSymlink:
		return refused(c.Path, "is a symbolic link; commit the file itself, or add its folder to the Sync's path"), nil
	case gitobject.ModeDir, gitobject.ModeFile, gitobject.ModeExec:
	}
	if r.before != nil {
		if p, ok := r.before.files[c.Path]; ok && p.blob == c.To.ID {
			return p, nil
		}
	}
	content, err := r.git.Blob(ctx, c.To.ID)
	if err != nil {
		return parsed{}, err
	}
	p := parsed{blob: c.To.ID}
	p.objects, p.problems = File(c.Path, content)
	p.objects = exactly(p.objects)
	for i := range p.objects {
		p.objects[i].blob = c.To.ID
	}
	return p, nil
}

func refused(file, message string) parsed {
	return parsed{problems: []Problem{{File: file, Message: message}}}
}

// Forget drops the objects themselves and keeps what is known of them: a Sync that is applied needs them no more.
func (r *Result) Forget() {
	for i := range r.Objects {
		r.Objects[i].Object = nil
	}
	for _, p := range r.files {
		for i := range p.objects {
			p.objects[i].Object = nil
		}
	}
}
