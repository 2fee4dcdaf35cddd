package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// parsed is what one file holds.
type parsed struct {
	blob     gitobject.ID
	objects  []Desired
	problems []Problem
}

// File reads the manifests of one file. Objects that stand beside a problem are still returned.
func File(name string, content []byte) ([]Desired, []Problem) {
	f := &file{name: name}
	switch {
	case len(content) > MaxFileBytes:
		f.problem(0, "is larger than %d MiB; split it", MaxFileBytes>>20)
	case structure(content) > MaxStructure:
		f.problem(0, "holds more than %d values; split it", MaxStructure)
	case bytes.HasPrefix(content, []byte("version https://git-lfs.github.com/spec/")):
		f.problem(0, "is a Git LFS pointer, so its content is not in Git; run `git lfs untrack` for it and commit the file itself")
	case path.Ext(name) == ".json":
		f.json(content)
	default:
		f.yaml(content)
	}
	return f.objects, f.problems
}

// structure bounds how many values a parser could make of content: each needs one of these bytes.
func structure(content []byte) (n int) {
	for _, b := range content {
		switch b {
		case '\n', ',', '[', '{', '-', '?':
			n++
		}
	}
	return n
}

// file collects what is found in one file.
type file struct {
	parsed

	name string
}

func (f *file) problem(line int, format string, args ...any) {
	if len(f.problems) < MaxProblems {
		f.problems = append(f.problems, Problem{File: f.name, Line: line, Message: fmt.Sprintf(format, args...)})
	}
}

func (f *file) yaml(content []byte) {
	if line, ok := badText(content); !ok {
		f.problem(line, "holds bytes that are not UTF-8 text; save it as UTF-8")
		return
	}
	decoder := yaml.NewDecoder(bytes.NewReader(withoutVersion(content)))
	c := &converter{}
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			line, message := syntax(err)
			f.objects = nil // what follows the error is unknown, so half of the file would be a guess
			f.problem(line, "is not valid YAML: %s", message)
			return
		}
		f.document(c, doc.Content[0])
	}
}

func (f *file) document(c *converter, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return // only comments
	}
	items := listItems(n)
	if items == nil {
		f.object(c, n)
		return
	}
	for _, item := range items.Content {
		if listItems(target(item)) != nil {
			f.problem(item.Line, "holds a List inside a List; write the inner items out")
			continue
		}
		f.object(c, item)
	}
}

// object converts one node. An alias is converted as one, so that it counts against the limit of aliases.
func (f *file) object(c *converter, n *yaml.Node) {
	body := target(n)
	if body.Kind != yaml.MappingNode {
		f.problem(n.Line, "holds something that is no Kubernetes object; move it out of the rendered path")
		return
	}
	v, err := c.value(n, 0)
	if err != nil {
		f.fail(err)
		return
	}
	content, _ := v.(map[string]any)
	f.add(content, n.Line, func(fields ...string) int { return lineOf(body, fields) })
}

func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (f *file) fail(err error) {
	if at, ok := errors.AsType[lineError](err); ok {
		f.problem(at.line, "%s", at.message)
		return
	}
	f.problem(0, "%s", err)
}

// listItems is the items node of a List; nil for anything else.
func listItems(n *yaml.Node) *yaml.Node {
	kind, items := child(n, "kind"), child(n, "items")
	if kind == nil || items == nil || items.Kind != yaml.SequenceNode || !strings.HasSuffix(kind.Value, "List") {
		return nil
	}
	return items
}

// child is the value at a key of a mapping, aliases followed; nil when there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return target(n.Content[i+1])
		}
	}
	return nil
}

// lineOf is the line of the innermost of the named fields that exists.
func lineOf(n *yaml.Node, fields []string) int {
	line := n.Line
	for _, field := range fields {
		if n = child(n, field); n == nil {
			break
		}
		line = n.Line
	}
	return line
}
