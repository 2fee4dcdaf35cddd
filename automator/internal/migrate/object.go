package migrate

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-cd/tandem/shared/imageref"
)

// value is a node of a file, which may not be there.
type value struct {
	file string
	node *yaml.Node
}

func (v value) exists() bool { return v.node != nil }

func (v value) line() int {
	if v.node == nil {
		return 0
	}
	return v.node.Line
}

// text is a scalar's text; empty if there is none.
func (v value) text() string {
	if v.node == nil || v.node.Kind != yaml.ScalarNode || v.node.ShortTag() == "!!null" {
		return ""
	}
	return strings.TrimSpace(v.node.Value)
}

// at follows fields.
func (v value) at(fields ...string) value {
	for _, field := range fields {
		next := value{file: v.file}
		for _, pair := range v.pairs() {
			if pair.key == field {
				next.node = pair.value.node
			}
		}
		v = next
	}
	return v
}

type pair struct {
	key   string
	value value
}

func (v value) pairs() []pair {
	if v.node == nil || v.node.Kind != yaml.MappingNode {
		return nil
	}
	var pairs []pair
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		pairs = append(pairs, pair{v.node.Content[i].Value, value{v.file, resolved(v.node.Content[i+1])}})
	}
	return pairs
}

func (v value) items() []value {
	if v.node == nil || v.node.Kind != yaml.SequenceNode {
		return nil
	}
	var items []value
	for _, node := range v.node.Content {
		items = append(items, value{v.file, resolved(node)})
	}
	return items
}

func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// object is a manifest.
type object struct {
	value

	group, kind     string
	namespace, name string
}

// folder is where the object's file stands; "." at the root.
func (o object) folder() string { return path.Dir(o.file) }

func (o object) annotation(name string) value { return o.at("metadata", "annotations").at(name) }

// templated finds what only a template engine can read; such files are no loss.
var templated = regexp.MustCompile(`\{\{`)

// read collects the objects of all files.
func (c *collector) read() {
	for _, file := range slices.Sorted(maps.Keys(c.files)) {
		switch path.Ext(file) {
		case ".yaml", ".yml", ".json":
			if err := c.readFile(file); err != nil && !templated.Match(c.files[file]) {
				c.notes = append(c.notes, Note{File: file, What: "file", Why: "it was left out, because it cannot be read: " + err.Error()})
			}
		}
	}
}

func (c *collector) readFile(file string) error {
	if len(c.files[file]) > imageref.MaxFileSize {
		return errors.New("it is larger than any manifest")
	}
	decoder := yaml.NewDecoder(bytes.NewReader(c.files[file]))
	for range imageref.MaxDocuments {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, root := range doc.Content {
			c.add(value{file, root})
		}
	}
	return nil
}

func (c *collector) add(v value) {
	group, _, found := strings.Cut(v.at("apiVersion").text(), "/")
	if !found {
		group = ""
	}
	o := object{
		value: v, group: group, kind: v.at("kind").text(),
		namespace: v.at("metadata", "namespace").text(), name: v.at("metadata", "name").text(),
	}
	if o.kind == "List" {
		for _, item := range v.at("items").items() {
			c.add(item)
		}
		return
	}
	c.objects = append(c.objects, o)
}

// container is one of a workload.
type container struct {
	name  string
	image value
	ref   imageref.Reference
}

// containers are those of a workload whose image is a reference.
func (o object) containers() []container {
	spec := o.at("spec", "template", "spec")
	switch o.kind {
	case "CronJob":
		spec = o.at("spec", "jobTemplate", "spec", "template", "spec")
	case "Pod":
		spec = o.at("spec")
	}
	var all []container
	for _, list := range []string{"initContainers", "containers"} {
		for _, item := range spec.at(list).items() {
			image := item.at("image")
			if ref, err := imageref.Parse(image.text()); err == nil {
				all = append(all, container{item.at("name").text(), image, ref})
			}
		}
	}
	return all
}
