package update

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tandem-cd/tandem/automator/internal/edit"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/imageref"
)

// Bounds of one environment.
const (
	// maxFiles bounds the files below its path.
	maxFiles = 500_000
	// maxBytes bounds the contents of those that may have an image: they are kept.
	maxBytes = 128 << 20
	// maxExplained is how many manifests are looked into to say what is there instead of an image.
	maxExplained = 200
)

// survey is where the images of a pipeline stand below an environment's path. Only the files that may have one are kept:
// parsing is what takes time, and most files of an environment name no image of ours; what is wrong with those is of no
// concern here.
type survey struct {
	entry gitobject.Entry // what is at the path
	// count is how many files there are, and likely the contents of those that may have an image.
	count  int
	likely map[string][]byte
	// unread are files that are too large to look into, and why.
	unread map[string]string
	// fixed are files that are not written, and why.
	fixed map[string]string
	found *edit.Found
	// missing says of images that are not there where they were looked for.
	missing map[string]string
}

// find looks for images in the files that may have one.
func (s *survey) find(images []edit.Image) {
	s.found = edit.Find(s.likely, images)
	for _, file := range slices.Sorted(maps.Keys(s.unread)) {
		s.found.Problems = append(s.found.Problems, edit.Problem{File: file, Message: s.unread[file]})
	}
}

// spot is a path with the images that are looked for there.
type spot struct{ path, images string }

// surveys keep what the last pass and this one have found: a tree is looked at once, and of one that changed only the files
// that did.
type surveys struct {
	reader Reader
	// plain is whether only files without the executable bit can be written, at paths of UTF-8.
	plain bool

	now, last map[spot][]*survey
}

// begin forgets what the last pass did not need.
func (s *surveys) begin() {
	s.last, s.now = s.now, map[spot][]*survey{}
}

// at surveys an environment as of a root tree.
func (s *surveys) at(ctx context.Context, root gitobject.ID, where string, images []edit.Image) (*survey, error) {
	entry, _, err := gitobject.Lookup(ctx, s.reader, root, where)
	if err != nil {
		return nil, err
	}
	at := spot{path: where, images: fmt.Sprint(images)}
	is := func(known *survey) bool { return known.entry == entry }
	if i := slices.IndexFunc(s.now[at], is); i >= 0 {
		return s.now[at][i], nil
	}
	var result *survey
	if i := slices.IndexFunc(s.last[at], is); i >= 0 {
		result = s.last[at][i]
	} else if result, err = s.explore(ctx, entry, where, images, slices.Concat(s.now[at], s.last[at])); err != nil {
		return nil, fmt.Errorf("read %q: %w", where, err)
	}
	s.now[at] = append(s.now[at], result)
	return result, nil
}

// explore surveys what nobody has surveyed, beginning with the first of the surveys that are known of the same path.
func (s *surveys) explore(ctx context.Context, entry gitobject.Entry, where string, images []edit.Image, known []*survey) (*survey, error) {
	e := exploration{survey: &survey{}, reader: s.reader, plain: s.plain, where: where, words: wordsOf(images)}
	var err error
	if len(known) > 0 {
		e.survey = &survey{count: known[0].count, likely: maps.Clone(known[0].likely), unread: maps.Clone(known[0].unread), fixed: maps.Clone(known[0].fixed)}
		err = e.differences(ctx, known[0].entry, entry)
	}
	if len(known) == 0 || fault.Is(err, fault.NotFound) { // a mirror that was made anew may not have what was there before
		e.survey, e.new = &survey{}, nil
		err = e.differences(ctx, gitobject.Entry{}, entry)
	}
	if err != nil {
		return nil, err
	}
	if err := e.read(ctx); err != nil {
		return nil, err
	}
	e.entry = entry
	e.find(images)
	e.missing, err = s.missing(ctx, e.survey, where, images)
	return e.survey, err
}

// exploration is a survey that is being made.
type exploration struct {
	*survey

	reader Reader
	plain  bool
	where  string
	words  [][]byte
	new    []file // that nobody has looked into
}

type file struct {
	path string
	id   gitobject.ID
}

// differences takes away what is not there any more, and notes what is new.
func (e *exploration) differences(ctx context.Context, from, to gitobject.Entry) error {
	return walk(ctx, e.reader, gitobject.Change{Path: e.where, From: from, To: to}, func(c gitobject.Change) error {
		if c.From.Mode.IsRegular() {
			delete(e.likely, c.Path)
			delete(e.unread, c.Path)
			delete(e.fixed, c.Path)
			e.count--
		}
		if c.To.Mode.IsRegular() {
			e.fix(c.Path, c.To.Mode)
			e.new = append(e.new, file{path: c.Path, id: c.To.ID})
			e.count++
		}
		if e.count > maxFiles {
			return fault.New(fault.Invalid, "more than %d files; name a folder that has less", maxFiles)
		}
		return nil
	})
}

// walk visits the files that differ below a path. What differs at the path may be directories, files or nothing.
func walk(ctx context.Context, reader gitobject.TreeReader, at gitobject.Change, visit func(gitobject.Change) error) error {
	where := at.Path
	var before, after gitobject.ID
	if at.From.Mode.IsDir() {
		before, at.From = at.From.ID, gitobject.Entry{}
	}
	if at.To.Mode.IsDir() {
		after, at.To = at.To.ID, gitobject.Entry{}
	}
	if at.From != at.To {
		if err := visit(at); err != nil {
			return err
		}
	}
	return gitobject.Diff(ctx, reader, before, after, nil, func(c gitobject.Change) error {
		c.Path = path.Join(where, c.Path)
		return visit(c)
	})
}

// read looks into what is new.
func (e *exploration) read(ctx context.Context) error {
	ids := make([]gitobject.ID, len(e.new))
	for i := range e.new {
		ids[i] = e.new[i].id
	}
	size := 0
	for _, content := range e.likely {
		size += len(content)
	}
	return e.reader.Blobs(ctx, ids, func(i int, content []byte, err error) error {
		name := e.new[i].path
		switch {
		case fault.Is(err, fault.Invalid):
			if imageref.Reads(name, nil) {
				e.miss(name, err.Error())
			}
			return nil // other files are often larger than any text
		case err != nil:
			return fmt.Errorf("read %q: %w", name, err)
		case imageref.Reads(name, content) && mayHave(content, e.words):
			e.keep(name, content)
			size += len(content)
		}
		if size > maxBytes {
			return fault.New(fault.Invalid, "more than %d bytes in files that may have an image; name a folder that has less", maxBytes)
		}
		return nil
	})
}

func (s *survey) keep(name string, content []byte) {
	if s.likely == nil {
		s.likely = map[string][]byte{}
	}
	s.likely[name] = content
}

// fix notes a file that a host's API would not leave as it is: it makes files of one mode only, and would make another one in
// place of one whose path is not UTF-8.
func (e *exploration) fix(name string, mode gitobject.Mode) {
	var why string
	switch {
	case !e.plain:
		return
	case mode != gitobject.ModeFile:
		why = fmt.Sprintf("its mode is %s, and the host's API makes files of mode %s only; change it, or have commits pushed", mode, gitobject.ModeFile)
	case !utf8.ValidString(name):
		why = "its path is not UTF-8, and the host's API knows no other paths; rename it, or have commits pushed"
	default:
		return
	}
	if e.fixed == nil {
		e.fixed = map[string]string{}
	}
	e.fixed[name] = why
}

func (s *survey) miss(name, why string) {
	if s.unread == nil {
		s.unread = map[string]string{}
	}
	s.unread[name] = why
}

// wordsOf are the last parts of the repositories' names.
func wordsOf(images []edit.Image) [][]byte {
	words := make([][]byte, 0, len(images))
	for _, image := range images {
		words = append(words, []byte(path.Base(image.Repository.Name())))
	}
	return words
}

// mayHave tells whether a file has a marker, or a word that every way of writing an image has.
func mayHave(content []byte, words [][]byte) bool {
	return imageref.Marked(content) || slices.ContainsFunc(words, func(word []byte) bool { return bytes.Contains(content, word) })
}

// missing says of images that are not there where they were looked for, and what is there instead.
func (s *surveys) missing(ctx context.Context, of *survey, where string, images []edit.Image) (map[string]string, error) {
	missing := map[string]string{}
	for _, image := range images {
		if of.found.Missing(image.Name) != "" {
			missing[image.Name] = ""
		}
	}
	if len(missing) == 0 {
		return missing, nil
	}
	files, err := s.sample(ctx, of, where)
	if err != nil {
		return nil, err
	}
	all := edit.Find(files, images)
	for name := range missing {
		missing[name] = all.Missing(name)
	}
	return missing, nil
}

// sample has all files by name, with the contents of those that may have an image and of a few others.
func (s *surveys) sample(ctx context.Context, of *survey, where string) (map[string][]byte, error) {
	files := make(map[string][]byte, of.count)
	var few []file
	err := walk(ctx, s.reader, gitobject.Change{Path: where, To: of.entry}, func(c gitobject.Change) error {
		if !c.To.Mode.IsRegular() {
			return nil
		}
		files[c.Path] = of.likely[c.Path]
		if files[c.Path] == nil && len(few) < maxExplained && imageref.Reads(c.Path, nil) {
			few = append(few, file{path: c.Path, id: c.To.ID})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return files, s.contents(ctx, few, files)
}

// contents reads files. Of one that is too large there is none.
func (s *surveys) contents(ctx context.Context, wanted []file, into map[string][]byte) error {
	ids := make([]gitobject.ID, len(wanted))
	for i := range wanted {
		ids[i] = wanted[i].id
	}
	return s.reader.Blobs(ctx, ids, func(i int, content []byte, err error) error {
		into[wanted[i].path] = content
		if fault.Is(err, fault.Invalid) {
			return nil
		}
		return err
	})
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
	changed := &survey{count: s.count, unread: s.unread, fixed: s.fixed, missing: s.missing}
	for name, content := range changes {
		if _, has := s.likely[name]; !has {
			continue
		}
		if changed.likely == nil {
			changed.likely = maps.Clone(s.likely)
		}
		changed.likely[name] = content
	}
	if changed.likely == nil {
		return s
	}
	changed.find(images)
	return changed
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
