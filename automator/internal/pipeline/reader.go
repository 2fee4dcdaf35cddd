package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-cd/tandem/shared/redact"
)

// Limits on a file in .tandem. They are far above what a person writes.
const (
	maxFileSize = 4 << 20
	maxItems    = 1000
	maxClusters = 20_000
	maxText     = 4096
	maxProblems = 100
)

// reader collects what is wrong with a file while it is read, so that a person
// sees all of it at once.
type reader struct {
	file     string
	home     Home
	problems Problems
}

func (r *reader) atf(n *yaml.Node, format string, args ...any) {
	r.add(n.Line, n.Column, fmt.Sprintf(format, args...))
}

func (r *reader) add(line, column int, message string) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, Problem{File: r.file, Line: line, Column: column, Message: message})
	}
}

// document parses the only document of a file; nil if there is none.
func (r *reader) document(data []byte) (root *yaml.Node) {
	defer func() {
		if p := recover(); p != nil { // a defect of the parser is a problem of this file only
			r.add(0, 0, fmt.Sprintf("the YAML parser gave up: %v", p))
			root = nil
		}
	}()
	switch {
	case len(data) > maxFileSize:
		r.add(0, 0, fmt.Sprintf("the file has %d bytes, more than %d", len(data), maxFileSize))
		return nil
	case !utf8.Valid(data):
		r.add(0, 0, "the file is not UTF-8")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		r.add(1, 1, `the file is empty; start with "version: 1"`)
		return nil
	} else if err != nil {
		r.syntax(err)
		return nil
	}
	if err := dec.Decode(&more); err == nil {
		r.atf(&more, `a second document; put everything into one and remove "---"`)
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
	}
	return doc.Content[0]
}

var (
	syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	// The parser, unlike its scanner, counts the lines of its errors from 0.
	countedFromZero = regexp.MustCompile(`did not find expected (<|node content|'-' indicator|key|',' or )`)
)

func (r *reader) syntax(err error) {
	text := err.Error()
	match := syntaxLine.FindStringSubmatch(text)
	if match == nil {
		r.add(1, 0, "not YAML: "+text)
		return
	}
	line, err := strconv.Atoi(match[1])
	if err != nil {
		line = 1
	} else if countedFromZero.MatchString(text) {
		line++
	}
	r.add(line, 0, "not YAML: "+text[len(match[0]):])
}

// mapping is a mapping whose keys were checked.
type mapping struct {
	*reader

	node   *yaml.Node
	what   string // "the environment dev"
	values map[string]*yaml.Node
}

// mapping checks that a node is a mapping of known keys, each there once.
func (r *reader) mapping(n *yaml.Node, what string, keys ...string) (mapping, bool) {
	m := mapping{reader: r, node: n, what: what, values: map[string]*yaml.Node{}}
	if n.Kind != yaml.MappingNode {
		r.atf(n, "%s is %s; write the keys %s", what, describe(n), strings.Join(keys, ", "))
		return m, false
	}
	known := map[string]bool{}
	for _, key := range keys {
		known[key] = true
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		first, twice := lines[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !known[key.Value]:
			r.atf(key, "%s has no key %s; %s", what, describe(key), suggest(key.Value, keys))
		case twice:
			r.atf(key, "the key %s is there twice, first on line %d; remove one", key.Value, first)
		default:
			lines[key.Value] = key.Line
			m.values[key.Value] = value
		}
	}
	return m, true
}

// missing reports a key that must be there.
func (m mapping) missing(key, example string) {
	m.atf(m.node, "%s has no %s; add %q", m.what, key, key+": "+example)
}

// text returns a string. Without an example it may be absent.
func (m mapping) text(key, example string) (string, *yaml.Node) {
	n, found := m.values[key]
	if !found {
		if example != "" {
			m.missing(key, example)
		}
		return "", nil
	}
	return m.scalar(n, key)
}

// scalar returns the text of a node that must be a string.
func (r *reader) scalar(n *yaml.Node, what string) (string, *yaml.Node) {
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || n.Value == "":
		r.atf(n, "%s is %s; write a text", what, describe(n))
	case n.ShortTag() != "!!str":
		r.atf(n, "%s is %s and not a text; put it in quotes: %q", what, describe(n), n.Value)
	case len(n.Value) > maxText:
		r.atf(n, "%s is longer than %d bytes", what, maxText)
	default:
		return n.Value, n
	}
	return "", nil
}

// list returns the items of a list. Without an example it may be absent; it may
// not be empty.
func (m mapping) list(key, example string) []*yaml.Node { return m.listOf(key, example, maxItems) }

// listOf is list with another limit.
func (m mapping) listOf(key, example string, most int) []*yaml.Node {
	n, found := m.values[key]
	if !found {
		if example != "" {
			m.missing(key, example)
		}
		return nil
	}
	switch {
	case n.Kind != yaml.SequenceNode:
		m.atf(n, `%s is %s; write a list: each item on its own line after "- "`, key, describe(n))
	case len(n.Content) == 0:
		m.atf(n, "%s is empty; add at least one item, or remove the key", key)
	case len(n.Content) > most:
		m.atf(n, "%s has %d items, more than %d", key, len(n.Content), most)
	default:
		return n.Content
	}
	return nil
}

// texts returns a list of strings.
func (m mapping) texts(key, example string) (texts []string, nodes []*yaml.Node) {
	for _, item := range m.list(key, example) {
		if text, n := m.scalar(item, "an item of "+key); n != nil {
			texts, nodes = append(texts, text), append(nodes, n)
		}
	}
	return texts, nodes
}

// version checks that the file is of the version this package reads.
func (m mapping) version() {
	n, found := m.values["version"]
	if !found {
		m.missing("version", "1")
		return
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Value != "1" {
		m.atf(n, "version is %s; this release reads version 1: write \"version: 1\"", describe(n))
	}
}

// describe says what a node is, in words for a person.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "the alias *" + n.Value + " (aliases are not read here)"
	case yaml.ScalarNode, yaml.DocumentNode:
	}
	switch tag := n.ShortTag(); tag {
	case "!!null":
		return "empty"
	case "!!str":
		return quote(n.Value)
	default:
		return fmt.Sprintf("%s (%s)", strings.Trim(quote(n.Value), `"`), strings.TrimPrefix(tag, "!!"))
	}
}

// quote renders foreign text for a message: quoted, of bounded length, and without the password of an address.
func quote(text string) string {
	text = redact.Addresses(text)
	const most = 80
	if len(text) > most {
		return fmt.Sprintf("%.*q...", most, text)
	}
	return fmt.Sprintf("%q", text)
}

// suggest names the key that was probably meant, or all of them.
func suggest(key string, keys []string) string {
	for _, known := range keys {
		const short = 3 // shorter abbreviations say nothing
		if closeTo(key, known) || len(key) >= short && strings.HasPrefix(known, key) {
			return fmt.Sprintf("did you mean %s?", known)
		}
	}
	return "known keys are " + strings.Join(keys, ", ")
}

// closeTo tells whether a is b with at most two letters inserted, removed or
// replaced, and is not something else altogether.
func closeTo(a, b string) bool {
	const most = 2
	if len(a) > len(b)+most || len(b) > len(a)+most {
		return false
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)] <= most && row[len(b)] < len(b)/2+1
}
