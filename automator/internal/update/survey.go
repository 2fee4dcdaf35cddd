package update

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path"
	"strings"

	"github.com/tandem-cd/tandem/automator/internal/edit"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/imageref"
)

// Bounds of one environment.
const (
	maxFiles = 50_000
	maxBytes = 256 << 20
)

// survey is where the images of a pipeline stand below an environment's path.
type survey struct {
	files map[string][]byte
	found *edit.Found
	// missing says of images that are not there where they were looked for.
	missing map[string]string
	// unread are files that are too large to look into.
	unread []edit.Problem
}

func newSurvey(files map[string][]byte, unread []edit.Problem, images []edit.Image) *survey {
	s := &survey{files: files, unread: unread}
	s.found, s.missing = find(files, images)
	s.found.Problems = append(s.found.Problems, unread...)
	return s
}

// surveyKey says what a survey depends on.
type surveyKey struct {
	entry  gitobject.Entry
	path   string
	images string
}

// surveys keep what the last pass and this one have read: a tree is parsed once, and of one that changed only the files
// that did are read again.
type surveys struct {
	reader Reader

	trees, lastTrees map[surveyKey]*survey
	blobs, lastBlobs map[blobKey][]byte
}

// begin forgets what the last pass did not need.
func (s *surveys) begin() {
	s.lastTrees, s.lastBlobs = s.trees, s.blobs
	s.trees, s.blobs = map[surveyKey]*survey{}, map[blobKey][]byte{}
}

// at surveys an environment as of a root tree.
func (s *surveys) at(ctx context.Context, root gitobject.ID, where string, images []edit.Image) (*survey, error) {
	entry, found, err := gitobject.Lookup(ctx, s.reader, root, where)
	if err != nil {
		return nil, err
	}
	key := surveyKey{entry: entry, path: where, images: fmt.Sprint(images)}
	if known, ok := s.trees[key]; ok {
		return known, nil
	}
	if known, ok := s.lastTrees[key]; ok {
		s.trees[key] = known
		return known, nil
	}
	files := collection{surveys: s, files: map[string][]byte{}}
	if found {
		if err := files.add(ctx, entry, where, 0); err != nil {
			return nil, fmt.Errorf("read %q: %w", where, err)
		}
	}
	result := newSurvey(files.files, files.unread, images)
	s.trees[key] = result
	return result, nil
}

// find looks for images in the files that may have one. Parsing is what takes time, and most files of an environment
// name no image of ours; what is wrong with those is of no concern here.
func find(files map[string][]byte, images []edit.Image) (found *edit.Found, missing map[string]string) {
	likely := make(map[string][]byte, len(files))
	for name, content := range files {
		likely[name] = nil
		if mayHave(content, images) {
			likely[name] = content
		}
	}
	found = edit.Find(likely, images)
	missing = map[string]string{}
	var all *edit.Found
	for _, image := range images {
		if found.Missing(image.Name) == "" {
			continue
		}
		if all == nil {
			all = edit.Find(files, images) // to say what is there instead
		}
		missing[image.Name] = all.Missing(image.Name)
	}
	return found, missing
}

// mayHave tells whether a file has a marker, or the last part of a repository's name, which every way of writing it has.
func mayHave(content []byte, images []edit.Image) bool {
	if imageref.Marked(content) {
		return true
	}
	for _, image := range images {
		if bytes.Contains(content, []byte(path.Base(image.Repository.Name()))) {
			return true
		}
	}
	return false
}

// collection gathers the manifests of an environment.
type collection struct {
	*surveys

	files  map[string][]byte
	unread []edit.Problem
	bytes  int
}

func (c *collection) add(ctx context.Context, entry gitobject.Entry, at string, depth int) error {
	switch {
	case depth > gitobject.MaxDepth:
		return fault.New(fault.Invalid, "%q is deeper than %d", at, gitobject.MaxDepth)
	case entry.Mode.IsRegular():
		return c.file(ctx, entry, at)
	case !entry.Mode.IsDir():
		return nil
	}
	tree, err := c.reader.Tree(ctx, entry.ID)
	if err != nil {
		return err
	}
	for _, below := range tree {
		if err := c.add(ctx, below, path.Join(at, below.Name), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *collection) file(ctx context.Context, entry gitobject.Entry, at string) error {
	c.files[at] = nil // counted, if nothing else
	content, err := c.blob(ctx, at, entry.ID)
	if fault.Is(err, fault.Invalid) {
		if imageref.Reads(at, nil) {
			c.unread = append(c.unread, edit.Problem{File: at, Message: err.Error()})
		}
		return nil // other files are often larger than any text
	}
	if err != nil {
		return err
	}
	c.files[at] = content
	c.bytes += len(content)
	if len(c.files) > maxFiles || c.bytes > maxBytes {
		return fault.New(fault.Invalid, "more than %d files or %d bytes; name a folder that has less", maxFiles, maxBytes)
	}
	return nil
}

// blobKey is a file's content with how it is read, which its name says.
type blobKey struct {
	id   gitobject.ID
	text bool
}

// blob reads a file. Of text without a marker, and of what is no text, nothing is kept.
func (s *surveys) blob(ctx context.Context, name string, id gitobject.ID) ([]byte, error) {
	ours := strings.HasPrefix(name, pipeline.Folder+"/")
	key := blobKey{id: id, text: !ours && !imageref.Reads(name, nil)}
	content, ok := s.blobs[key]
	if !ok {
		content, ok = s.lastBlobs[key]
	}
	if !ok {
		var err error
		if content, err = s.reader.Blob(ctx, id); err != nil {
			return nil, err
		}
		if key.text && !imageref.Reads(name, content) {
			content = nil
		}
	}
	s.blobs[key] = content
	return content, nil
}

// running is what an environment has of each image.
func (s *survey) running(p *pipeline.Pipeline) map[string]pipeline.Running {
	images := map[string]pipeline.Running{}
	for _, image := range p.Images {
		running := pipeline.Running{Missing: s.missing[image.Name]}
		for _, value := range s.found.Values(image.Name) {
			running.Pins = append(running.Pins, pipeline.Pin{Tag: value.Tag, Digest: value.Digest})
		}
		images[image.Name] = running
	}
	return images
}

// over is the survey of the same files with some of them changed.
func (s *survey) over(changes map[string][]byte, images []edit.Image) *survey {
	touched := false
	files := s.files
	for name, content := range changes {
		if _, has := s.files[name]; !has {
			continue
		}
		if !touched {
			files, touched = maps.Clone(files), true
		}
		files[name] = content
	}
	if !touched {
		return s
	}
	return newSurvey(files, s.unread, images)
}

// imagesOf are a pipeline's images as edits know them.
func imagesOf(p *pipeline.Pipeline) []edit.Image {
	images := make([]edit.Image, 0, len(p.Images))
	for _, image := range p.Images {
		images = append(images, edit.Image{Name: image.Name, Repository: image.Repository})
	}
	return images
}

// problems are those of the search that concern an environment.
func (s *survey) problems(app, environment string) []Problem {
	return editProblems(s.found.Problems, app, environment)
}

func editProblems(found []edit.Problem, app, environment string) []Problem {
	var out []Problem
	for _, p := range found {
		out = append(out, Problem{
			Problem: pipeline.Problem{File: p.File, Line: p.Line, Message: strings.TrimSpace(p.Message)},
			App:     app, Environment: environment, Refused: true,
		})
	}
	return out
}
