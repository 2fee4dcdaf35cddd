package render

import (
	"context"
	"fmt"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// Load gives back the objects of those that were forgotten. Each file is read and parsed once, whatever is asked of it, and
// nothing is kept of it but what was asked for.
func Load(ctx context.Context, git gitobject.BlobReader, objects []*Desired) error {
	for file, forgotten := range byFile(objects) {
		if err := file.load(ctx, git, forgotten); err != nil {
			return err
		}
	}
	return nil
}

// source is a file at one content.
type source struct {
	name string
	blob gitobject.ID
}

// byFile groups what was forgotten.
func byFile(objects []*Desired) map[source][]*Desired {
	files := map[source][]*Desired{}
	for _, d := range objects {
		if d.Object == nil {
			at := source{name: d.Origin.File, blob: d.blob}
			files[at] = append(files[at], d)
		}
	}
	return files
}

func (s source) load(ctx context.Context, git gitobject.BlobReader, forgotten []*Desired) error {
	content, err := git.Blob(ctx, s.blob)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	objects, _ := File(s.name, content)
	for _, d := range forgotten {
		if d.index >= len(objects) || objects[d.index].Hash != d.Hash {
			return fault.New(fault.Internal, "%s does not hold %s any more", d.Origin, d.Key)
		}
		d.Object = objects[d.index].Object
	}
	return nil
}
