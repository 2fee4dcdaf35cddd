package edit

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tandem-cd/tandem/shared/imageref"
)

// Value is what an image should have.
type Value struct {
	Tag    string
	Digest string
}

// Change is a place that got another value.
type Change struct {
	File  string
	Line  int
	Path  string // "Deployment/web spec.template.spec.containers[0].image"
	Image string
	Old   string
	New   string
}

// Idle is an image that changed nowhere, and why.
type Idle struct {
	Image  string
	Reason string
}

// Result is what writing did.
type Result struct {
	// Files holds the new bytes of the files that changed, and no others.
	Files map[string][]byte
	// Changes are ordered by file and line.
	Changes []Change
	// Idle are ordered as the images of the pipeline.
	Idle []Idle
	// Problems are those of the search, and files that could not be written.
	Problems []Problem
}

// Write gives images the values. A value that is there already changes nothing, so
// that writing twice is writing once. If one place of a file cannot be written,
// none of the file is.
func (f *Found) Write(values map[string]Value) Result {
	r := Result{Files: map[string][]byte{}, Problems: slices.Clone(f.Problems)}
	edits := map[string][]edited{}
	for _, image := range f.images {
		value, wanted := values[image.Name]
		if !wanted {
			continue
		}
		places, reason := f.plan(image.Name, value)
		if reason != "" {
			r.Idle = append(r.Idle, Idle{image.Name, reason})
		}
		for _, e := range places {
			edits[e.file] = append(edits[e.file], e)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(edits)) {
		r.write(file, f.files[file], edits[file])
	}
	return r
}

// edited is a position with its new value.
type edited struct {
	imageref.Position

	file  string
	image string
	value string
}

// plan lists the places that get a new value, or says why there are none.
func (f *Found) plan(image string, value Value) ([]edited, string) {
	if value.Tag == "" || value.Digest == "" {
		return nil, fmt.Sprintf("a value needs a tag and a digest, this one has %q and %q", value.Tag, value.Digest)
	}
	if reason := f.Missing(image); reason != "" {
		return nil, reason
	}
	var edits []edited
	for _, p := range f.places[image] {
		for _, position := range p.Positions {
			text, err := position.Text(value.Tag, value.Digest)
			if err != nil {
				return nil, fmt.Sprintf("%s: %s: %v", p, position.Path, err)
			}
			if text != position.Value {
				edits = append(edits, edited{Position: position, file: p.File, image: image, value: text})
			}
		}
	}
	if len(edits) == 0 {
		return nil, fmt.Sprintf("%s has %s already", count(len(f.places[image]), "place"), value.Tag)
	}
	return edits, ""
}

func (r *Result) write(file string, before []byte, edits []edited) {
	slices.SortFunc(edits, func(a, b edited) int { return a.Start - b.Start })
	splices := make([]imageref.Splice, 0, len(edits))
	for _, e := range edits {
		splices = append(splices, imageref.Splice{Position: e.Position, Value: e.value})
	}
	after, err := imageref.Replace(file, before, splices)
	if err != nil {
		problem := Problem{File: file, Message: err.Error()}
		if where, ok := errors.AsType[*imageref.Error](err); ok {
			problem.Line, problem.Message = where.Line, where.Reason
		}
		r.Problems = append(r.Problems, problem)
		return
	}
	r.Files[file] = after
	for _, e := range edits {
		r.Changes = append(r.Changes, Change{
			File: file, Line: e.Line, Path: e.Path, Image: e.image, Old: e.Value, New: e.value,
		})
	}
}
