package pipeline

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
)

// NB: if a golden test fails, run `go test ./internal/pipeline -update`, and look
// at the difference. Commit it only if you understand what caused it and if it is
// wanted.
var update = flag.Bool("update", false, "rewrite the goldens in testdata")

// golden runs every story of a folder: its files go in, and what comes out is
// compared with the file "want".
func golden(t *testing.T, folder string, run func(t *testing.T, files map[string][]byte) string) {
	t.Helper()
	stories, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories in %s: %v", folder, err)
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
			got := run(t, files)
			if *update && got != want {
				rewrite(t, story, archive, got)
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s-want, +got:\n%s", archive.Comment, diff)
			}
		})
	}
}

func rewrite(t *testing.T, story string, archive *txtar.Archive, got string) {
	t.Helper()
	archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" })
	archive.Files = append(archive.Files, txtar.File{Name: "want", Data: []byte(got)})
	if err := os.WriteFile(story, txtar.Format(archive), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	golden(t, "load", func(_ *testing.T, files map[string][]byte) string {
		var out strings.Builder
		s := Load(Home{Repository: "fleet", Branch: "main", Branches: []string{"release"}}, files)
		for _, p := range s.Pipelines {
			fmt.Fprintf(&out, "%s:%d: pipeline %s\n", p.File, p.Line, p.App)
			for _, i := range p.Images {
				fmt.Fprintf(&out, "  %d: image %s, %s, %s\n", i.Line, i.Name, i.Repository.Name(), i.Policy)
				for _, rule := range i.Verify {
					fmt.Fprintf(&out, "    %s\n", rule)
				}
			}
			for _, e := range p.Environments {
				fmt.Fprintf(&out, "  %d: environment %s, path %q on %s, cluster %q, promote %s\n", e.Line, e.Name, e.Path, e.Branch, e.Cluster, e.Promote)
			}
		}
		for _, c := range s.Clusters {
			fmt.Fprintf(&out, "%d: cluster %s\n", c.Line, c.Name)
			for _, g := range c.Grants {
				fmt.Fprintf(&out, "  grant %s %q %q\n", g.Repository, g.Refs, g.Paths)
			}
		}
		for _, p := range s.Problems {
			fmt.Fprintln(&out, p)
		}
		return out.String()
	})
}

// state is an Input as a story writes it: a pin is "1.4.0@a", where the letter is
// repeated to make a digest.
type state struct {
	Candidates   map[string]struct{ Pin, Reason string }
	Environments map[string]struct {
		Images  map[string][]string
		Missing map[string]string
		Ours    map[string]string
		Healthy map[string]string
		Since   string
		State   string
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	golden(t, "decide", func(t *testing.T, files map[string][]byte) string {
		t.Helper()
		p, problems := Parse("pipeline.yaml", files["pipeline.yaml"])
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		in := readInput(t, files["state.yaml"])
		out := Decide(p, in)
		if again := Decide(p, in); cmp.Diff(out, again) != "" {
			t.Errorf("Decide(...) differs when asked twice: %s", cmp.Diff(out, again))
		}
		return tell(out)
	})
}

func readInput(t *testing.T, data []byte) Input {
	t.Helper()
	var s state
	if err := yaml.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	in := Input{
		Candidates: map[string]Candidate{}, Environments: map[string]Observed{},
		Now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
	}
	for name, c := range s.Candidates {
		in.Candidates[name] = Candidate{Pin: readPin(c.Pin), Reason: c.Reason}
	}
	for name, e := range s.Environments {
		o := Observed{Images: map[string]Running{}, Ours: map[string]Pin{}, Evidence: Evidence{State: e.State}}
		for image, pins := range e.Images {
			running := Running{}
			for _, pin := range pins {
				running.Pins = append(running.Pins, readPin(pin))
			}
			o.Images[image] = running
		}
		for image, missing := range e.Missing {
			o.Images[image] = Running{Missing: missing}
		}
		for image, pin := range e.Ours {
			o.Ours[image] = readPin(pin)
		}
		for image, letter := range e.Healthy {
			if o.Evidence.Healthy == nil {
				o.Evidence.Healthy = map[string]string{}
			}
			o.Evidence.Healthy[image] = readPin("@" + letter).Digest
		}
		if e.Since != "" {
			since, err := time.Parse(time.RFC3339, e.Since)
			if err != nil {
				t.Fatal(err)
			}
			o.Evidence.Since = since
		}
		in.Environments[name] = o
	}
	return in
}

func readPin(text string) Pin {
	tag, letter, _ := strings.Cut(text, "@")
	pin := Pin{Tag: tag}
	if letter != "" {
		pin.Digest = "sha256:" + strings.Repeat(letter, 64)
	}
	return pin
}

func tell(out Outcome) string {
	var b strings.Builder
	for _, d := range out.Decisions {
		fmt.Fprintf(&b, "%s %s: %s -> %s: %s\n", d.Environment, d.Image, d.From, d.To, d.Reason)
		if d.Proven != "" {
			fmt.Fprintf(&b, "  proven by %s for %s\n", d.Proven, d.HealthyFor)
		}
	}
	for _, w := range out.Waits {
		fmt.Fprintf(&b, "%s %s waits: %s\n", w.Environment, orElse(w.Image, "as a whole"), w.Reason)
	}
	return b.String()
}
