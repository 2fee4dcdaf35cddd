package imageref

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
)

// Limits on what is read as a manifest file. A file beyond them is refused with
// an error, never read in part.
const (
	// MaxFileSize is the size of a file in bytes.
	MaxFileSize = 4 << 20
	// MaxDocuments is the number of YAML documents in a file.
	MaxDocuments = 10_000
	// MaxDepth is how deep nodes may be nested in a document.
	MaxDepth = 256
)

// Error says what is wrong with a file, and where. Line and Column count from 1;
// they are 0 where the whole file is meant.
type Error struct {
	Line   int
	Column int
	Reason string

	cause error
}

// Unwrap returns what a caller's own check of a change answered.
func (e *Error) Unwrap() error { return e.cause }

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	if e.Column == 0 {
		return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Reason)
}

// source is a parsed file. The tree is used for positions and for comparing;
// values are spliced into the bytes.
type source struct {
	name  string
	file  []byte
	lines lineIndex
	docs  []*yaml.Node
	// nested are the texts in the file that are YAML; find fills it. inner is
	// whether this is one.
	nested []*nested
	inner  bool
	// aliased holds the nodes that some alias stands for.
	aliased map[*yaml.Node]bool
}

func read(name string, file []byte) (*source, error) {
	if len(file) > MaxFileSize {
		return nil, &Error{Reason: fmt.Sprintf("the file has %d bytes, more than %d", len(file), MaxFileSize)}
	}
	s := &source{name: name, file: file, lines: newLineIndex(file), aliased: map[*yaml.Node]bool{}}
	if err := s.checkText(); err != nil {
		return nil, err
	}
	if !isYAML(name) {
		return s, nil
	}
	docs, err := parseDocuments(s.shadow())
	if err != nil {
		return nil, err
	}
	s.docs = docs
	for _, doc := range docs {
		if err := s.checkNode(doc, 0); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// checkText refuses text in which the parser's positions could not be trusted.
func (s *source) checkText() error {
	if !utf8.Valid(s.file) {
		bad := 0
		for bad < len(s.file) {
			r, n := utf8.DecodeRune(s.file[bad:])
			if r == utf8.RuneError && n < 2 {
				break
			}
			bad += n
		}
		return s.errorAt(bad, "the file is not UTF-8")
	}
	// The parser looks for a byte order mark at the start of its read buffer
	// instead of at the start of the line, and then skips characters.
	if i := bytes.LastIndex(s.file, []byte(bom)); i > 0 {
		return s.errorAt(i, "a byte order mark inside the file")
	}
	return nil
}

func (s *source) errorAt(offset int, format string, args ...any) *Error {
	line, column := s.lines.position(offset)
	return &Error{Line: line, Column: column, Reason: fmt.Sprintf(format, args...)}
}

var yamlDirective = regexp.MustCompile(`^%YAML[ \t]+1\.[0-9]+[ \t]*(#.*)?$`)

// surrogates match the pairs by which JSON escapes what YAML has one escape for.
var surrogates = regexp.MustCompile(`\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}`)

// shadow returns the text to parse: the file with %YAML directives blanked, byte
// for byte, because the parser knows 1.1 alone and reads 1.2 files well, and with
// other characters where JSON has escapes that YAML 1.1 has not.
func (s *source) shadow() []byte {
	if strings.HasSuffix(s.name, ".json") {
		shadow := surrogates.ReplaceAll(s.file, []byte(`\u0020\u0020`))
		return bytes.ReplaceAll(shadow, []byte(`\/`), []byte("~~")) // in no reference
	}
	if !bytes.Contains(s.file, []byte("%YAML")) {
		return s.file
	}
	shadow := bytes.Clone(s.file)
	prologue := true // where directives may stand: at the start and after "..."
	for _, start := range s.lines.lines {
		line := s.lines.rest(start.offset)
		switch {
		case bytes.HasPrefix(line, []byte("...")):
			prologue = true
		case prologue && yamlDirective.Match(line):
			copy(shadow[start.offset:], bytes.Repeat([]byte(" "), len(line)))
		case len(bytes.TrimLeft(line, " \t")) == 0, line[0] == '#', line[0] == '%':
		default:
			prologue = false
		}
	}
	return shadow
}

func parseDocuments(text []byte) (docs []*yaml.Node, err error) {
	// The parser reads what strangers wrote; a bug in it is an error, not a crash.
	defer func() {
		if p := recover(); p != nil {
			docs, err = nil, &Error{Reason: fmt.Sprintf("the YAML parser gave up: %v", p)}
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return nil, yamlError(err)
		case len(docs) == MaxDocuments:
			return nil, &Error{Line: doc.Line, Column: doc.Column, Reason: fmt.Sprintf("more than %d documents", MaxDocuments)}
		}
		docs = append(docs, &doc)
	}
}

var (
	yamlErrorLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	unknownAnchor = regexp.MustCompile(`unknown anchor '.*' referenced`)
	// The parser, unlike its scanner, counts the lines of its errors from 0.
	countedFromZero = regexp.MustCompile(`did not find expected (<|node content|'-' indicator|key|',' or )`)
)

func yamlError(err error) *Error {
	text := unknownAnchor.ReplaceAllString(err.Error(), "unknown anchor") // the name may be a secret that begins with "*"
	match := yamlErrorLine.FindStringSubmatch(text)
	if match == nil {
		return &Error{Line: 1, Reason: text}
	}
	line, err := strconv.Atoi(match[1])
	if err != nil {
		line = 1 // the parser leaves the line out where it is the first
	} else if countedFromZero.MatchString(text) {
		line++
	}
	return &Error{Line: line, Reason: "not YAML: " + text[len(match[0]):]}
}

// checkNode refuses what a tree can hold and a reader could take in two ways.
func (s *source) checkNode(n *yaml.Node, depth int) error {
	if depth > MaxDepth {
		return &Error{Line: n.Line, Column: n.Column, Reason: fmt.Sprintf("nested deeper than %d", MaxDepth)}
	}
	if n.Kind == yaml.AliasNode {
		s.aliased[n.Alias] = true
		return nil
	}
	if n.Kind == yaml.MappingNode {
		if err := checkKeys(n); err != nil {
			return err
		}
	}
	for _, child := range n.Content {
		if err := s.checkNode(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// checkKeys refuses a mapping that has a key twice: parsers differ in which of
// the two they believe.
func checkKeys(mapping *yaml.Node) error {
	type key struct{ tag, value string }
	seen := make(map[key]int, len(mapping.Content)/2)
	for i := 0; i < len(mapping.Content); i += 2 {
		node := resolved(mapping.Content[i])
		if node.Kind != yaml.ScalarNode {
			continue
		}
		k := key{node.ShortTag(), node.Value}
		if first, found := seen[k]; found {
			return &Error{
				Line: mapping.Content[i].Line, Column: mapping.Content[i].Column,
				Reason: fmt.Sprintf("the key %s is there twice, first on line %d", quote(k.value), first),
			}
		}
		seen[k] = mapping.Content[i].Line
	}
	return nil
}

// resolved follows an alias. One step is enough: an alias stands for a node with
// an anchor, which an alias cannot have.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}
