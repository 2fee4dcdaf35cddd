package edit

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tandem-cd/tandem/shared/imageref"
	"github.com/tandem-cd/tandem/shared/redact"
)

// Image is an image of a pipeline.
type Image struct {
	// Name is what markers call it.
	Name string
	// Repository has neither a tag nor a digest.
	Repository imageref.Reference
}

// Problem is a file that could not be read, or a position in it that could not be
// edited.
type Problem struct {
	File string
	// Line counts from 1; 0 if the whole file is meant.
	Line    int
	Message string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
}

// Place is where an image stands: one position, or several that are its parts.
type Place struct {
	File      string
	Positions []imageref.Position // in the order of the file
	Reference imageref.Reference
}

func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Positions[0].Line) }

// locked returns the first position that cannot be edited.
func (p Place) locked() (imageref.Position, bool) {
	for _, position := range p.Positions {
		if position.Locked != "" {
			return position, true
		}
	}
	return imageref.Position{}, false
}

// Found is where the images of a pipeline stand in some files.
type Found struct {
	// Problems are ordered by file and line.
	Problems []Problem

	files  map[string][]byte
	images []Image
	places map[string][]Place // by image; can be edited
	looked looked
}

// looked is what the search saw, to explain what it did not find.
type looked struct {
	files    []string        // that were searched
	images   map[string]bool // repositories that were there
	marked   map[string]int  // places marked for images of others, by their name
	unmarked map[string]int  // places left alone because others are marked, by image
}

// Find looks for the images of a pipeline in files, which are named by their path.
// It needs all images of the pipeline, also those that are not to be changed, to
// see where two of them could be meant. Files other than .yaml, .yml and .json are
// read if they have a marker.
func Find(files map[string][]byte, images []Image) *Found {
	f := &Found{
		files: files, images: images, places: map[string][]Place{},
		looked: looked{images: map[string]bool{}, marked: map[string]int{}, unmarked: map[string]int{}},
	}
	var places []place
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if imageref.Reads(file, files[file]) {
			f.looked.files = append(f.looked.files, file)
			places = append(places, f.read(file)...)
		}
	}
	marked := map[string]bool{}
	for _, p := range places {
		if image, ok := f.named(p.marker); ok && p.known() {
			marked[image.Name] = true
		}
	}
	for _, p := range places {
		f.settle(p, marked)
	}
	slices.SortStableFunc(f.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return f
}

// place is a place with the marker it has, if any.
type place struct {
	Place

	marker imageref.Marker
	// alone is whether it is the only one on its line.
	alone bool
}

// known tells whether a place is one without its marker, too.
func (p place) known() bool { return !p.Positions[0].ByMarker }

// read returns the positions of a file, or notes why there are none.
func (f *Found) read(file string) []place {
	positions, err := imageref.Find(file, f.files[file])
	if err != nil {
		problem := Problem{File: file, Message: err.Error()}
		if where, ok := errors.AsType[*imageref.Error](err); ok {
			problem.Line, problem.Message = where.Line, where.Reason
		}
		f.Problems = append(f.Problems, problem)
		return nil
	}
	onLine, groups := map[int]map[int]bool{}, map[int]int{}
	var places []place
	for _, position := range positions {
		if onLine[position.Line] == nil {
			onLine[position.Line] = map[int]bool{}
		}
		onLine[position.Line][position.Group] = true
		at, known := groups[position.Group]
		if !known {
			at = len(places)
			groups[position.Group] = at
			places = append(places, place{Place: Place{File: file, Reference: position.Image}})
		}
		p := &places[at]
		p.Positions = append(p.Positions, position)
		p.marker = cmp.Or(p.marker, position.Marker)
	}
	for i := range places {
		p := &places[i]
		p.alone = len(onLine[p.Positions[0].Line]) == 1
		if name := p.Reference.Name(); name != "" {
			f.looked.images[name] = true
		}
	}
	return places
}

// settle gives a place to the image it belongs to.
func (f *Found) settle(p place, marked map[string]bool) {
	if first := p.Positions[0]; first.Unread {
		f.problemf(p, "%s cannot be looked into: %s", first.Path, first.Locked)
		return
	}
	image, ok := f.imageOf(p, marked)
	if !ok {
		return
	}
	if position, locked := p.locked(); locked {
		f.Problems = append(f.Problems, Problem{
			File: p.File, Line: position.Line, Message: fmt.Sprintf("%s cannot be edited: %s", position.Path, position.Locked),
		})
		return
	}
	f.places[image] = append(f.places[image], p.Place)
}

func (f *Found) imageOf(p place, marked map[string]bool) (string, bool) {
	image, ok := f.named(p.marker)
	switch {
	case ok:
		return f.markedImage(p, image)
	case p.marker.Image == "":
		return f.ofRepository(p, p.Reference, marked)
	case p.marker.Flux && p.Reference.Name() != "":
		return f.ofRepository(p, p.Reference, marked) // a policy that the pipeline calls otherwise
	}
	if repository, ok := p.marker.Repository(); ok {
		return f.ofRepository(p, repository, nil)
	}
	f.looked.marked[p.marker.Image]++
	return "", false
}

// named finds the image that a marker names. A Flux policy is found by its name, or
// by its namespace and name, joined.
func (f *Found) named(m imageref.Marker) (Image, bool) {
	for _, image := range f.images {
		if m.Image != "" && (image.Name == m.Image || m.Flux && image.Name == m.Namespace+"-"+m.Image) {
			return image, true
		}
	}
	return Image{}, false
}

// ofRepository finds the image of a repository.
func (f *Found) ofRepository(p place, repository imageref.Reference, marked map[string]bool) (string, bool) {
	var names []string
	for _, image := range f.images {
		switch {
		case image.Repository.Name() != repository.Name():
		case marked[image.Name]:
			f.looked.unmarked[image.Name]++
		default:
			names = append(names, image.Name)
		}
	}
	if len(names) > 1 {
		f.problemf(p, `%s: %s have this repository; say which one is meant with a comment behind it: "# tandem: %s"`,
			p.Positions[0].Path, list(names, len(names)), names[0])
		return "", false
	}
	if len(names) == 0 {
		return "", false
	}
	return names[0], true
}

// markedImage checks that an image fits what its marker stands behind: a marker
// that was copied along does not turn one image into another.
func (f *Found) markedImage(p place, image Image) (string, bool) {
	first := p.Positions[0]
	unknown := p.Reference.Name() == "" && (first.Part != imageref.Whole || first.Value == "" && first.Locked != "")
	if unknown || p.Reference.Name() == image.Repository.Name() {
		return image.Name, true
	}
	if p.alone {
		f.problemf(p, "%s is marked for %s, whose repository is %s, but it is %s; correct the marker or the image%s",
			first.Path, image.Name, image.Repository, quote(first.Value), partHint(first))
	}
	return "", false
}

// partHint helps who marked a tag as if it were an image.
func partHint(p imageref.Position) string {
	if p.ByMarker && p.Part == imageref.Whole && p.Image.Tag == "" && p.Image.Digest == "" {
		return fmt.Sprintf(`; a tag alone is marked "# tandem: %s:tag"`, p.Marker.Image)
	}
	return ""
}

func (f *Found) problemf(p place, format string, args ...any) {
	f.Problems = append(f.Problems, Problem{File: p.File, Line: p.Positions[0].Line, Message: fmt.Sprintf(format, args...)})
}

// quote renders foreign text for a message, without the password of an address.
func quote(text string) string {
	text = redact.Addresses(text)
	const most = 120
	if len(text) > most {
		return fmt.Sprintf("%.*q...", most, text)
	}
	return fmt.Sprintf("%q", text)
}
