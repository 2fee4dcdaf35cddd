package migrate

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
)

// NB: if a golden test fails, run `go test ./internal/migrate -update`, and look at
// the difference. Commit it only if it is wanted.
var update = flag.Bool("update", false, "rewrite the goldens in testdata")

// TestFrom runs the stories in testdata, whose names begin with their source.
func TestFrom(t *testing.T) {
	t.Parallel()
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, story := range stories {
		t.Run(strings.TrimSuffix(filepath.Base(story), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(story)
			if err != nil {
				t.Fatal(err)
			}
			files, want := map[string][]byte{}, ""
			for _, file := range archive.Files {
				if file.Name == "want" {
					want = string(file.Data)
					continue
				}
				files[file.Name] = file.Data
			}
			source := sourceOf(t, filepath.Base(story))
			got := tell(t, From(source, files))
			if *update && got != want {
				archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" })
				archive.Files = append(archive.Files, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(story, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s-want, +got:\n%s", archive.Comment, diff)
			}
		})
	}
}

func sourceOf(t *testing.T, story string) Source {
	t.Helper()
	for _, source := range Sources() {
		if strings.HasPrefix(story, string(source)) {
			return source
		}
	}
	t.Fatalf("%s does not begin with a source", story)
	return ""
}

// tell prints a result, all of whose files the pipelines' parser MUST take together.
func tell(t testing.TB, r Result) string {
	t.Helper()
	if problems := pipeline.Load(pipeline.Home{Repository: "repository"}, r.Files).Problems; len(problems) > 0 {
		t.Errorf("the parser finds %v", problems)
	}
	var b strings.Builder
	for _, n := range r.Notes {
		fmt.Fprintln(&b, n)
	}
	for _, file := range slices.Sorted(maps.Keys(r.Files)) {
		fmt.Fprintf(&b, ">>> %s\n%s", file, r.Files[file])
	}
	return b.String()
}

// FuzzFrom checks that whatever is in files, what is written is a pipeline.
func FuzzFrom(f *testing.F) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for i, story := range stories {
		data, err := os.ReadFile(story)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(data).Files {
			f.Add(file.Data, uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, file []byte, source uint8) {
		r := From(Sources()[int(source)%len(Sources())], map[string][]byte{"apps/a.yaml": file})
		for name, content := range r.Files {
			if problems := pipeline.Load(pipeline.Home{Repository: "repository"}, map[string][]byte{name: content}).Problems; len(problems) > 0 {
				t.Fatalf("%s: %v", content, problems)
			}
		}
		for _, n := range r.Notes {
			if n.File == "" || n.What == "" || n.Why == "" {
				t.Fatalf("note %+v", n)
			}
		}
	})
}
