package rules

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const libraries = "docs/decisions/0001-libraries.md"

// libraryRow is a row of a table of the decision: the module's path in
// backquotes, then at least a word of reason.
var libraryRow = regexp.MustCompile("(?m)^\\| `([^` ]+)` \\| [^|]*\\w[^|]* \\|")

// TestLibraries holds the list of libraries and the go.mod files together.
func TestLibraries(t *testing.T) {
	decided := map[string]bool{}
	for _, row := range libraryRow.FindAllSubmatch(read(t, libraries), -1) {
		decided[string(row[1])] = true
	}
	if len(decided) == 0 {
		t.Fatalf("%s: no row reads as a library", libraries)
	}
	used := map[string]bool{}
	for _, module := range modules {
		for _, path := range direct(t, module) {
			used[path] = true
			if !decided[path] {
				t.Errorf("%s/go.mod: requires %s, which %s does not name: add a row with its reason", module, path, libraries)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(decided)) {
		if complete && !used[path] {
			t.Errorf("%s: names %s, which no module requires", libraries, path)
		}
	}
}

// direct returns the modules of others that a module of ours imports. It looks
// at the imports and not only at the go.mod file, where the comment that tells
// direct from indirect is right only after tidying.
func direct(t *testing.T, module string) []string {
	t.Helper()
	var required, found []string
	for _, require := range goModOf(t, module).Require {
		if strings.HasPrefix(require.Path, prefix) {
			continue
		}
		required = append(required, require.Path)
		if !require.Indirect {
			found = append(found, require.Path)
		}
	}
	for _, p := range packages(t) {
		if !below(p.path, module) {
			continue
		}
		for _, path := range slices.Concat(p.imports, p.testImports) {
			if owner := ownerOf(path, required); owner != "" {
				found = append(found, owner)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// ownerOf returns the module that holds a package: the longest path above it.
func ownerOf(path string, required []string) string {
	owner := ""
	for _, candidate := range required {
		if below(path, candidate) && len(candidate) > len(owner) {
			owner = candidate
		}
	}
	return owner
}
