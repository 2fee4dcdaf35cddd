package operations_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/integration/env"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/metrics.md")

const document = "docs/metrics.md"

// metric is a family as a scrape shows it.
type metric struct {
	name, kind, help string
	labels           map[string]bool
}

var (
	helpLine = regexp.MustCompile(`^# HELP (\S+) (.*)$`)
	typeLine = regexp.MustCompile(`^# TYPE (\S+) (\S+)$`)
	// sample is a line with a value; label values of ours hold no quotes.
	sample = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$`)
	label  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="`)
	suffix = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// parse reads a scrape.
func parse(scrape []byte) map[string]*metric {
	found := map[string]*metric{}
	for line := range strings.Lines(string(scrape)) {
		line = strings.TrimRight(line, "\n")
		if m := helpLine.FindStringSubmatch(line); m != nil {
			found[m[1]] = &metric{name: m[1], help: m[2], labels: map[string]bool{}}
			continue
		}
		if m := typeLine.FindStringSubmatch(line); m != nil {
			found[m[1]].kind = m[2]
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		of := found[m[1]]
		if of == nil {
			of = found[suffix.ReplaceAllString(m[1], "")]
		}
		for _, name := range label.FindAllStringSubmatch(m[2], -1) {
			of.labels[name[1]] = true
		}
	}
	return found
}

// row is a metric's line in the document.
func (m *metric) row() string {
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(m.labels)) {
		if name != "le" {
			labels = append(labels, "`"+name+"`")
		}
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", m.name, m.kind, strings.Join(labels, ", "), m.help)
}

// table is the document's table of one agent.
func table(found map[string]*metric, prefix string) string {
	var out strings.Builder
	out.WriteString("| metric | type | labels | what it says |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if strings.HasPrefix(name, prefix) {
			out.WriteString(found[name].row())
		}
	}
	return out.String()
}

// scrapes runs the main job, once for every test of the package, and returns what both agents show then.
func scrapes(t *testing.T) map[string]map[string]*metric {
	t.Helper()
	world := newWorld(t, env.Options{Name: "metrics"})
	if err := world.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	release(t, world, "1.1.0")
	return map[string]map[string]*metric{
		"automator":    parse(get(t, world.Automator)),
		"synchronizer": parse(get(t, world.Sites[site].Synchronizer)),
	}
}

func get(t *testing.T, agent *env.Agent) []byte {
	t.Helper()
	scrape, err := agent.Get(context.WithoutCancel(t.Context()), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return scrape
}

func TestMetrics(t *testing.T) {
	found := scrapes(t)
	t.Run("Documented", func(t *testing.T) { documented(t, found) })
	t.Run("Conventions", func(t *testing.T) { conventional(t, found) })
	t.Run("DashboardAndRules", func(t *testing.T) { used(t, found) })
}

// documented compares the tables of the document with what there is.
func documented(t *testing.T, found map[string]map[string]*metric) {
	path := filepath.Join(root(t), document)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for agent, metrics := range found {
		begin, end := []byte("<!-- "+agent+" -->\n"), []byte("<!-- end -->")
		at := bytes.Index(text, begin)
		if at < 0 {
			t.Fatalf("%s has no line %s", document, begin)
		}
		at += len(begin)
		until := at + bytes.Index(text[at:], end)
		want := table(metrics, "tandem_"+agent+"_")
		if *update {
			text = slices.Concat(text[:at], []byte(want), text[until:])
			continue
		}
		if diff := cmp.Diff(want, string(text[at:until])); diff != "" {
			t.Errorf("%s: -what the %s shows, +what is documented; rewrite it with go test ./integration/suites/operations -update\n%s", document, agent, diff)
		}
	}
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// conventional holds the names to Prometheus' conventions.
func conventional(t *testing.T, found map[string]map[string]*metric) {
	for agent, metrics := range found {
		for name, m := range metrics {
			ours := strings.HasPrefix(name, "tandem_"+agent+"_")
			if !ours && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
				t.Errorf("%s: %s begins with no prefix of this agent", agent, name)
			}
			if !ours {
				continue
			}
			if (m.kind == "counter") != strings.HasSuffix(name, "_total") {
				t.Errorf("%s is a %s: counters end in _total, and nothing else does", name, m.kind)
			}
			if m.kind == "histogram" && !strings.HasSuffix(name, "_seconds") {
				t.Errorf("%s is a histogram without its unit", name)
			}
			if !strings.HasSuffix(m.help, ".") {
				t.Errorf("%s: the help is no sentence: %s", name, m.help)
			}
		}
	}
}

// reference finds the names of metrics in expressions.
var reference = regexp.MustCompile(`\b(?:tandem|go|process)_[a-z0-9_]+`)

// used checks that the dashboard and the alerts read metrics that exist.
func used(t *testing.T, found map[string]map[string]*metric) {
	for file, least := range map[string]int{"deploy/grafana/tandem.json": 20, "deploy/prometheus/rules.yaml": 8} {
		text, err := os.ReadFile(filepath.Join(root(t), file))
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, name := range reference.FindAllString(string(text), -1) {
			names[name] = true
		}
		if len(names) < least {
			t.Errorf("%s names %d metrics, fewer than %d: is it read right?", file, len(names), least)
		}
		for name := range names {
			base := suffix.ReplaceAllString(name, "")
			known := false
			for _, metrics := range found {
				known = known || metrics[name] != nil || metrics[base] != nil && metrics[base].kind == "histogram"
			}
			if !known {
				t.Errorf("%s reads %s, which neither agent shows", file, name)
			}
		}
	}
}

// root is the folder of go.work.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
