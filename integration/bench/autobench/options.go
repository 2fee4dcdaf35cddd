package autobench

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The parts of the benchmark.
const (
	PushPart = "push"
	ScanPart = "scan"
	TagsPart = "tags"
	EditPart = "edit"
	RacePart = "race"
)

// Parts lists them in the order in which they run.
func Parts() []string { return []string{PushPart, ScanPart, TagsPart, EditPart, RacePart} }

// Options choose how much is measured. See Defaults.
type Options struct {
	// Only are the parts that run; all by default.
	Only []string
	// Latency is what every answer of the registry takes longer, and Limit how many requests a second it answers before it
	// refuses.
	Latency time.Duration
	Limit   int
	// Pushes is how many images are pushed, one after the other, each beside a bare push.
	Pushes int
	// Repositories with TagsEach tags are looked at every Interval, for Rounds rounds after the first.
	Repositories, TagsEach, Rounds int
	Interval                       time.Duration
	// Tags is how many tags the one repository has, NewTags how many come later.
	Tags, NewTags int
	// Files is the size of the huge repository, Bumps how often an image in it changes.
	Files, Bumps int
	// Writers push to one branch all the time, each again Pause after its last push was taken. Updates is how many images
	// are pushed meanwhile.
	Writers, Updates int
	Pause            time.Duration
	// Program is the automator.
	Program string
	// Profiles is a folder for profiles of the automator in scan, edit and race; empty makes none.
	Profiles string
	// Keep is a folder for what is left behind; by default a temporary one that is removed.
	Keep string
	// Say tells what goes on.
	Say func(format string, args ...any)
}

// Defaults are what docs/benchmarks.md was measured with.
func Defaults() Options {
	return Options{
		Only: Parts(), Latency: 5 * time.Millisecond, Limit: 100,
		Pushes: 50, Repositories: 1000, TagsEach: 50, Rounds: 3, Interval: 30 * time.Second,
		Tags: 50_000, NewTags: 5, Files: 100_000, Bumps: 20, Writers: 20, Updates: 50, Pause: time.Second,
	}
}

// Validate returns what cannot be measured.
func (o *Options) Validate() error {
	for _, part := range o.Only {
		if !slices.Contains(Parts(), part) {
			return fmt.Errorf("%q is none of the parts %s", part, strings.Join(Parts(), ", "))
		}
	}
	least := map[string]int{
		"-limit": o.Limit, "-pushes": o.Pushes, "-repos": o.Repositories, "-tags-each": o.TagsEach, "-rounds": o.Rounds,
		"-tags": o.Tags, "-new-tags": o.NewTags, "-files": o.Files, "-bumps": o.Bumps, "-writers": o.Writers, "-updates": o.Updates,
	}
	for name, value := range least {
		if value < 1 {
			return fmt.Errorf("%s is %d; at least 1 is needed", name, value)
		}
	}
	return nil
}

// Report is what was measured; a part that did not run is not there.
type Report struct {
	Push *Push `json:"push_to_commit_ms,omitempty"`
	Scan *Scan `json:"scan,omitempty"`
	Tags *Tags `json:"many_tags,omitempty"`
	Edit *Edit `json:"edit,omitempty"`
	Race *Race `json:"race,omitempty"`
}

// JSON is the report on one line.
func (r Report) JSON() ([]byte, error) { return json.Marshal(r) }
