package edit

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

	"github.com/tandem-cd/tandem/shared/imageref"
)

// NB: if a golden test fails, run `go test ./internal/edit -update`, and look at
// the difference. Commit it only if you understand what caused it and if it is
// wanted.
var update = flag.Bool("update", false, "rewrite the goldens in testdata")

// TestWrite runs the stories in testdata. The file "images" has a line for each
// image: name, repository, and the tag and the digest's letter to write, if any.
func TestWrite(t *testing.T) {
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
			var images []Image
			var values map[string]Value
			for _, file := range archive.Files {
				switch file.Name {
				case "want":
					want = string(file.Data)
				case "images":
					images, values = readImages(t, string(file.Data))
				default:
					files[file.Name] = file.Data
				}
			}
			found := Find(files, images)
			result := found.Write(values)
			checkInvariants(t, files, images, values, result)
			got := tell(found, images, result)
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

func readImages(t *testing.T, text string) ([]Image, map[string]Value) {
	t.Helper()
	var images []Image
	values := map[string]Value{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		images = append(images, Image{Name: fields[0], Repository: mustParse(t, fields[1])})
		if len(fields) > 2 {
			values[fields[0]] = Value{Tag: fields[2], Digest: digest(fields[3])}
		}
	}
	return images, values
}

func digest(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

func mustParse(t testing.TB, text string) imageref.Reference {
	t.Helper()
	ref, err := imageref.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// checkInvariants holds for every story: writing twice is writing once, and the
// verifier accepts what was written.
func checkInvariants(t *testing.T, files map[string][]byte, images []Image, values map[string]Value, r Result) {
	t.Helper()
	after := maps.Clone(files)
	changes := 0
	for file, data := range r.Files {
		changed, err := imageref.OnlyImagesChanged(file, files[file], data, nil)
		if err != nil || len(changed) == 0 {
			t.Errorf("%s: the verifier finds %d changes, %v", file, len(changed), err)
		}
		changes += len(changed)
		after[file] = data
	}
	if changes != len(r.Changes) {
		t.Errorf("%d changes, of which %d are told", changes, len(r.Changes))
	}
	if again := Find(after, images).Write(values); len(again.Files) > 0 || len(again.Changes) > 0 {
		t.Errorf("writing again changes %v", again.Changes)
	}
}

func tell(f *Found, images []Image, r Result) string {
	var b strings.Builder
	for _, image := range images {
		fmt.Fprintf(&b, "%s: %s %s\n", image.Name, f.Values(image.Name), f.Places(image.Name))
	}
	for _, c := range r.Changes {
		fmt.Fprintf(&b, "%s:%d: %s: %s: %s -> %s\n", c.File, c.Line, c.Image, c.Path, c.Old, c.New)
	}
	for _, i := range r.Idle {
		fmt.Fprintf(&b, "%s waits: %s\n", i.Image, i.Reason)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(&b, p)
	}
	for _, file := range slices.Sorted(maps.Keys(r.Files)) {
		fmt.Fprintf(&b, ">>> %s\n%s", file, r.Files[file])
	}
	text := b.String()
	for _, letter := range "abcdef" {
		text = strings.ReplaceAll(text, digest(string(letter)), "sha256:"+string(letter)+"*")
	}
	return text
}
