package edit

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzWrite checks that for any files every change is an image change that was
// told, that nothing else differs, and that writing again changes nothing.
func FuzzWrite(f *testing.F) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, story := range stories {
		data, err := os.ReadFile(story)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(data).Files {
			f.Add(file.Data, []byte("a: b"))
		}
	}
	images := []Image{
		{"api", mustParse(f, "ghcr.io/acme/api")}, {"canary", mustParse(f, "ghcr.io/acme/api")}, {"web", mustParse(f, "nginx")},
	}
	values := map[string]Value{"api": {"1.5.0", digest("b")}, "canary": {"1.6.0", digest("c")}, "web": {"2.0.0", digest("d")}}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		files := map[string][]byte{"one.yaml": one, "two.yml": two}
		r := Find(files, images).Write(values)
		checkInvariants(t, files, images, values, r)
		for _, problem := range r.Problems {
			if problem.File == "" || problem.Message == "" {
				t.Fatalf("problem %+v", problem)
			}
		}
		for _, image := range images {
			changed := false
			for _, c := range r.Changes {
				changed = changed || c.Image == image.Name
			}
			for _, i := range r.Idle {
				changed = changed || i.Image == image.Name
			}
			if !changed {
				t.Fatalf("%s neither changed nor has a reason: %+v", image.Name, r)
			}
		}
	})
}
