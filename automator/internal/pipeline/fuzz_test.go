package pipeline

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzLoad checks that any bytes give pipelines that can be used, or problems with
// a place, and that nothing else happens.
func FuzzLoad(f *testing.F) {
	stories, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, story := range stories {
		data, err := os.ReadFile(story)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(data).Files {
			f.Add(file.Data, []byte(threeByThree))
		}
	}
	f.Fuzz(func(t *testing.T, one, clusters []byte) {
		s := Load(Home{Repository: "fleet", Branch: "main"}, map[string][]byte{
			".tandem/a.yaml": one, ".tandem/b.yaml": []byte(threeByThree), ClustersFile: clusters,
		})
		for _, p := range s.Problems {
			if p.File == "" || p.Message == "" || len(p.Message) > 4*maxText || p.Line < 0 {
				t.Fatalf("problem %+v", p)
			}
		}
		for _, p := range s.Pipelines {
			if p.App == "" || len(p.Images) == 0 || len(p.Environments) == 0 {
				t.Fatalf("pipeline without a part: %+v", p)
			}
			Decide(p, Input{})
		}
		for _, c := range s.Clusters {
			for _, g := range c.Grants {
				if len(g.Refs) == 0 || len(g.Paths) == 0 || g.Repository == "" {
					t.Fatalf("grant without a part: %+v", g)
				}
			}
		}
	})
}
