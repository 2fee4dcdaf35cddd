package pipeline

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/automator/internal/policy"
)

const threeByThree = `
version: 1
app: shop
images: [{name: api, repository: api}, {name: web, repository: web}, {name: job, repository: job}]
environments:
- {name: dev, path: env/dev, cluster: c}
- {name: staging, path: env/staging, cluster: c}
- {name: prod, path: env/prod, cluster: c}
`

func drawPin(t *rapid.T, label string) Pin {
	version := rapid.IntRange(0, 4).Draw(t, label)
	pin := Pin{Tag: fmt.Sprintf("1.%d.0", version), Digest: "sha256:" + strings.Repeat(fmt.Sprint(version), 64)}
	switch rapid.IntRange(0, 9).Draw(t, label+" kind") {
	case 0:
		pin.Digest = ""
	case 1:
		pin.Tag = "latest"
	case 2:
		pin.Digest = "sha256:" + strings.Repeat("f", 64)
	}
	return pin
}

func drawInput(t *rapid.T, p *Pipeline) Input {
	in := Input{Candidates: map[string]Candidate{}, Environments: map[string]Observed{}, Now: time.Unix(1_800_000_000, 0)}
	for _, image := range p.Images {
		in.Candidates[image.Name] = Candidate{Pin: drawPin(t, "candidate")}
	}
	for _, e := range p.Environments {
		o := Observed{Images: map[string]Running{}, Ours: map[string]Pin{}}
		for _, image := range p.Images {
			var running Running
			for range rapid.SampledFrom([]int{0, 1, 1, 1, 1, 1, 2}).Draw(t, "pins") {
				running.Pins = append(running.Pins, drawPin(t, "running"))
			}
			o.Images[image.Name] = running
			if rapid.IntRange(0, 5).Draw(t, "ours") == 0 {
				o.Ours[image.Name] = drawPin(t, "our value")
			}
			if rapid.IntRange(0, 5).Draw(t, "healthy") > 0 && len(running.Pins) > 0 {
				if o.Evidence.Healthy == nil {
					o.Evidence.Healthy = map[string]string{}
				}
				o.Evidence.Healthy[image.Name] = running.Pins[0].Digest
			}
		}
		in.Environments[e.Name] = o
	}
	return in
}

// Whatever is seen: nothing goes back, nothing is promoted without proof for all of
// it, nothing stays without a reason, and what was decided once is not decided
// again.
func TestDecideProperties(t *testing.T) {
	t.Parallel()
	p, problems := Parse("p.yaml", []byte(threeByThree))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, p)
		out := Decide(p, in)
		for _, d := range out.Decisions {
			checkDecision(t, p, in, d)
		}
		checkReasons(t, p, out)
		for _, d := range Decide(p, applied(in, out)).Decisions {
			if d.Environment == "dev" {
				t.Fatalf("decided again: %+v", d)
			}
		}
	})
}

func checkDecision(t *rapid.T, p *Pipeline, in Input, d Decision) {
	for _, pin := range in.Environments[d.Environment].Images[d.Image].Pins {
		if order, ok := (policy.Policy{}).Compare(d.To.Tag, pin.Tag); ok && order < 0 {
			t.Fatalf("goes back from %s: %+v", pin, d)
		}
	}
	if d.To.Digest == "" || d.Reason == "" {
		t.Fatalf("without a digest or a reason: %+v", d)
	}
	if d.Environment == "dev" {
		return
	}
	proven := in.Environments[d.Proven]
	release, ok := p.ReleaseAt(proven)
	if !ok {
		t.Fatalf("promoted what is no release: %+v", d)
	}
	for _, image := range release {
		if proven.Evidence.Healthy[image.Name] != image.Digest {
			t.Fatalf("promoted without proof of %s: %+v", image.Name, d)
		}
	}
}

func checkReasons(t *rapid.T, p *Pipeline, out Outcome) {
	told := map[string]bool{}
	for _, d := range out.Decisions {
		told[d.Environment+" "+d.Image], told[d.Environment] = true, true
	}
	for _, w := range out.Waits {
		if w.Reason == "" {
			t.Fatalf("no reason: %+v", w)
		}
		told[strings.TrimSpace(w.Environment+" "+w.Image)] = true
	}
	for _, e := range p.Environments {
		for _, image := range p.Images {
			// An image of a release that moves may be there already.
			if !told[e.Name+" "+image.Name] && !told[e.Name] {
				t.Fatalf("%s %s: neither a decision nor a reason in %+v", e.Name, image.Name, out)
			}
		}
	}
}

// applied returns the input as it is once the decisions are in Git.
func applied(in Input, out Outcome) Input {
	for _, d := range out.Decisions {
		in.Environments[d.Environment].Images[d.Image] = Running{Pins: []Pin{d.To}}
	}
	return in
}

func TestReleaseID(t *testing.T) {
	t.Parallel()
	a := ReleaseImage{Name: "a", Repository: "r/a", Pin: Pin{Tag: "1", Digest: "sha256:01"}}
	b := ReleaseImage{Name: "b", Repository: "r/b", Pin: Pin{Tag: "1", Digest: "sha256:02"}}
	retagged := a
	retagged.Tag = "2"
	id := Release{a, b}.ID()
	if len(id) != 12 || id != (Release{b, a}).ID() || id != (Release{b, retagged}).ID() {
		t.Errorf("ID() = %q; neither order nor tags may matter", id)
	}
	for _, other := range []Release{{a}, {b}, {a, a}, nil} {
		if other.ID() == id {
			t.Errorf("%v has the id of %v", other, Release{a, b})
		}
	}
	// printf 'a=r/a@sha256:01\nb=r/b@sha256:02' | sha256sum
	if want := "181bc6d6138f"; id != want {
		t.Errorf("ID() = %q, want %q: the id is in commits, it must not change", id, want)
	}
}
