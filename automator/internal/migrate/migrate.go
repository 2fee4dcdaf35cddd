package migrate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
)

// Source is the system to come from.
type Source string

// The systems there are.
const (
	Flux               Source = "flux"
	ArgoCDImageUpdater Source = "argocd-image-updater"
	Keel               Source = "keel"
)

// Sources returns all of them.
func Sources() []Source { return []Source{Flux, ArgoCDImageUpdater, Keel} }

// Note is something that has no equivalent, or that a person has to look at.
type Note struct {
	File string
	// Line counts from 1; 0 if the whole file is meant.
	Line int
	// What is the setting, such as "spec.git.push.branch".
	What string
	// Why says what Tandem does instead, and what to do.
	Why string
}

func (n Note) String() string {
	at := n.File
	if n.Line > 0 {
		at = fmt.Sprintf("%s:%d", n.File, n.Line)
	}
	return fmt.Sprintf("%s: %s: %s", at, n.What, n.Why)
}

// Result is what to write and what to read.
type Result struct {
	// Files are new files, by path.
	Files map[string][]byte
	// Notes are ordered by file and line.
	Notes []Note
}

// From reads the files of a repository, by their path in it.
func From(source Source, files map[string][]byte) Result {
	c := &collector{files: files, apps: map[string]*app{}}
	c.read()
	switch source {
	case Flux:
		c.flux()
		c.fluxV1()
	case ArgoCDImageUpdater:
		c.updater()
	case Keel:
		c.keel()
	}
	return c.result(source)
}

// collector gathers pipelines and notes.
type collector struct {
	files   map[string][]byte
	objects []object
	apps    map[string]*app
	notes   []Note
}

func (c *collector) note(at value, what, format string, args ...any) {
	c.notes = append(c.notes, Note{File: at.file, Line: at.line(), What: what, Why: fmt.Sprintf(format, args...)})
}

// result has the real parser read what was made, each image by itself so that one
// does not spoil the others.
func (c *collector) result(source Source) Result {
	r := Result{Files: map[string][]byte{}}
	for _, name := range c.order() {
		a := c.apps[name]
		file := pipeline.Folder + "/" + name + ".yaml"
		a.images = slices.DeleteFunc(a.images, func(i image) bool {
			alone := *a
			alone.images = []image{i}
			problems := parsed(nil, file, alone.render(source))
			for _, p := range problems {
				c.note(i.from, "image "+i.name+" of "+a.name, "it was left out: %s", p.Message)
			}
			return len(problems) > 0
		})
		if len(a.images) == 0 {
			c.note(a.from, a.what, "no image of it could be taken over, so that there is no pipeline to write")
			continue
		}
		content := a.render(source)
		problems := parsed(r.Files, file, content)
		for _, p := range problems {
			c.note(a.from, a.what, "the pipeline made of it is not written, because of %s", p)
		}
		if len(problems) == 0 {
			r.Files[file] = content
		}
	}
	slices.SortStableFunc(c.notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	r.Notes = slices.Compact(c.notes)
	return r
}

// order names the apps, those of the deeper folders first: where two would write the
// same image to the same place, the one that means less keeps it.
func (c *collector) order() []string {
	return slices.SortedFunc(maps.Keys(c.apps), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(c.apps[b].path), len(c.apps[a].path)), cmp.Compare(a, b))
	})
}

// parsed returns the problems of a file beside others, which have none.
func parsed(others map[string][]byte, file string, content []byte) []pipeline.Problem {
	files := map[string][]byte{file: content}
	maps.Copy(files, others)
	return pipeline.Load(pipeline.Home{Repository: "repository"}, files).Problems
}
