package edit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tandem-cd/tandem/shared/imageref"
)

// Places returns where an image stands, in the order of files and lines.
func (f *Found) Places(image string) []Place { return f.places[image] }

// Values returns the different values that an image has, in the order in which
// they are met: one, if all places agree.
func (f *Found) Values(image string) []imageref.Reference {
	var values []imageref.Reference
	for _, p := range f.places[image] {
		same := func(r imageref.Reference) bool { return r.Tag == p.Reference.Tag && r.Digest == p.Reference.Digest }
		if !slices.ContainsFunc(values, same) {
			values = append(values, p.Reference)
		}
	}
	return values
}

// Missing says where an image was looked for and what was there instead; empty if
// it was found.
func (f *Found) Missing(image string) string {
	at := slices.IndexFunc(f.images, func(i Image) bool { return i.Name == image })
	switch {
	case len(f.places[image]) > 0:
		return ""
	case at < 0:
		return fmt.Sprintf("the pipeline has no image %s", image)
	case len(f.looked.files) == 0:
		return fmt.Sprintf("no manifest (.yaml, .yml or .json) among %s", count(len(f.files), "file"))
	}
	reasons := []string{fmt.Sprintf("no place for %s in %s (%s)",
		f.images[at].Repository, count(len(f.looked.files), "manifest"), list(f.looked.files, 3))}
	if there := slices.Sorted(maps.Keys(f.looked.images)); len(there) > 0 {
		reasons = append(reasons, "there is "+list(there, 5))
	} else {
		reasons = append(reasons, "there is no image at all")
	}
	if n := f.looked.unmarked[image]; n > 0 {
		reasons = append(reasons, fmt.Sprintf("%s of this repository left alone, because another one has the marker", count(n, "place")))
	}
	for _, name := range slices.Sorted(maps.Keys(f.looked.marked)) {
		reasons = append(reasons, fmt.Sprintf("%s marked for %s, which is no image of this pipeline",
			count(f.looked.marked[name], "place"), quote(name)))
	}
	if len(f.Problems) > 0 {
		reasons = append(reasons, fmt.Sprintf("%s: %s", count(len(f.Problems), "problem"), f.Problems[0]))
	}
	return strings.Join(reasons, "; ")
}

// list joins words, and counts those beyond the first few.
func list(words []string, most int) string {
	more := len(words) - most
	switch {
	case more > 0:
		return strings.Join(words[:most], ", ") + fmt.Sprintf(" and %d more", more)
	case len(words) < 2:
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
