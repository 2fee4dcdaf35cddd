package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// link is a link of Markdown: [text](target).
var link = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// codeBlock is what Markdown shows as it is.
var codeBlock = regexp.MustCompile("(?ms)^```.*?^```|`[^`\n]*`")

// markdown lists the documents of the tree.
func markdown(t *testing.T) []string {
	t.Helper()
	var names []string
	for name := range strings.FieldsSeq(string(run(t, "git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"))) {
		if !strings.Contains(name, "/testdata/") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Fatal("git lists no documents")
	}
	return names
}

func TestLinks(t *testing.T) {
	for _, name := range markdown(t) {
		for _, match := range link.FindAllStringSubmatch(codeBlock.ReplaceAllString(string(read(t, name)), ""), -1) {
			target, fragment, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(root(), file)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, match[1])
				continue
			}
			if fragment != "" && !slices.Contains(anchors(string(read(t, file))), fragment) {
				t.Errorf("%s: %s has no heading for #%s", name, file, fragment)
			}
		}
	}
}

// anchors are what the headings of a document are linked by.
func anchors(document string) []string {
	var found []string
	for line := range strings.Lines(codeBlock.ReplaceAllString(document, "")) {
		title := strings.TrimLeft(line, "#")
		if title == line {
			continue
		}
		found = append(found, strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.TrimSpace(title)))
	}
	return found
}

const (
	troubleshooting = "docs/troubleshooting.md"
	statusFile      = "synchronizer/api/v1alpha1/status.go"
	convergeFolder  = "synchronizer/internal/converge"
)

// word is what conditions and events have as their reason.
var word = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)

// TestTroubleshooting wants every word that a Sync's status or events can show in the page for those who meet it.
func TestTroubleshooting(t *testing.T) {
	words := map[string]bool{}
	for _, name := range constants(t, statusFile) {
		words[name] = true
	}
	if len(words) == 0 {
		t.Fatalf("%s: no constants", statusFile)
	}
	before := len(words)
	files, err := filepath.Glob(filepath.Join(root(), convergeFolder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			for _, name := range reasons(t, file) {
				words[name] = true
			}
		}
	}
	if len(words) == before {
		t.Fatalf("%s: no reasons of conditions and events", convergeFolder)
	}
	page := string(read(t, troubleshooting))
	for _, name := range slices.Sorted(maps.Keys(words)) {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s: says nothing about `%s`, which a Sync can show", troubleshooting, name)
		}
	}
}

// constants are the words that a file has as constants.
func constants(t *testing.T, name string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, read(t, name), parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, declaration := range file.Decls {
		if group, ok := declaration.(*ast.GenDecl); ok && group.Tok == token.CONST {
			found = append(found, literals(group)...)
		}
	}
	return found
}

// reasons are the words that a file sets as the reason of a condition or records as that of an event.
func reasons(t *testing.T, name string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch function := call.Fun.(type) {
		case *ast.Ident:
			if function.Name == "set" {
				found = append(found, literals(call)...)
			}
		case *ast.SelectorExpr:
			if function.Sel.Name == "record" {
				found = append(found, literals(call)...)
			}
		}
		return true
	})
	return found
}

// literals are the words among the strings below a node.
func literals(node ast.Node) []string {
	var found []string
	ast.Inspect(node, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		if text, err := strconv.Unquote(literal.Value); err == nil && word.MatchString(text) {
			found = append(found, text)
		}
		return true
	})
	return found
}
