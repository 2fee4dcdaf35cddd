package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goStatements lists where a goroutine may start outside shared/run, how often,
// and why it ends. wg.Go followed by Wait needs no entry.
var goStatements = map[string]struct {
	count  int
	reason string
}{
	"integration/cmd/demo":    {count: 1, reason: "reads a terminal, which cannot be asked to stop; ends with the program"},
	"shared/run":              {count: 1, reason: "Aside: what cannot be told to stop; its caller sees to its end"},
	"integration/env/process": {count: 1, reason: "reaps a child process; ends when the process does"},
}

// clocks are the functions of package time that make a result depend on when
// it was asked for.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// parsed returns a package's files without its tests.
func parsed(t *testing.T, p pkg) (*token.FileSet, []*ast.File) {
	t.Helper()
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.files {
		file, err := parser.ParseFile(set, filepath.Join(p.dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return set, files
}

// statementsGo returns where a file starts goroutines.
func statementsGo(file *ast.File) []token.Pos {
	var found []token.Pos
	ast.Inspect(file, func(n ast.Node) bool {
		if statement, ok := n.(*ast.GoStmt); ok {
			found = append(found, statement.Pos())
		}
		return true
	})
	return found
}

// clocksRead returns where a file reads a clock.
func clocksRead(file *ast.File) map[token.Pos]string {
	name := ""
	for _, spec := range file.Imports {
		if spec.Path.Value != `"time"` {
			continue
		}
		name = "time"
		if spec.Name != nil {
			name = spec.Name.Name
		}
	}
	found := map[token.Pos]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := selector.X.(*ast.Ident); ok && name != "" && of.Name == name && slices.Contains(clocks, selector.Sel.Name) {
			found[selector.Pos()] = "time." + selector.Sel.Name
		}
		return true
	})
	return found
}

// place writes a position as a reader of the repository would.
func place(set *token.FileSet, pos token.Pos) string {
	return strings.TrimPrefix(set.Position(pos).String(), root()+"/")
}

func TestGoStatements(t *testing.T) {
	counted := map[string]int{}
	for _, p := range packages(t) {
		if p.generated() {
			continue
		}
		set, files := parsed(t, p)
		for _, file := range files {
			for _, pos := range statementsGo(file) {
				counted[p.path]++
				if _, ok := goStatements[p.path]; !ok {
					t.Errorf("%s: a goroutine starts in shared/run, or ends before its function returns (wg.Go and Wait)", place(set, pos))
				}
			}
		}
	}
	for path, allowed := range goStatements {
		if counted[path] != allowed.count {
			t.Errorf("%s: %d go statements, want %d: %s", path, counted[path], allowed.count, allowed.reason)
		}
	}
}

func TestCoresHaveNoClock(t *testing.T) {
	cores := 0
	for _, p := range packages(t) {
		if partOf(p.path) != core {
			continue
		}
		cores++
		set, files := parsed(t, p)
		for _, file := range files {
			for pos, name := range clocksRead(file) {
				t.Errorf("%s: %s in a core: take the time as an argument", place(set, pos), name)
			}
		}
	}
	if cores == 0 {
		t.Error("the map names no core that exists")
	}
}

// TestSourceRulesSeeBreaches proves that the rules can fail.
func TestSourceRulesSeeBreaches(t *testing.T) {
	const source = `package p
import clock "time"
func f() { go f(); _ = clock.Now(); _ = clock.Second; go func() {}() }`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(statementsGo(file)); got != 2 {
		t.Errorf("statementsGo(): %d, want 2", got)
	}
	if got := slices.Collect(maps.Values(clocksRead(file))); !slices.Equal(got, []string{"time.Now"}) {
		t.Errorf("clocksRead(): %v, want time.Now", got)
	}
}
