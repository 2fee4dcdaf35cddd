// Package engine runs the benchmark of the automator in small, and holds what it counts to what must always be so.
package engine

import (
	"testing"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/autobench"
	"github.com/tandem-cd/tandem/integration/env"
)

// small is a benchmark of a few seconds, all parts of it side by side.
func small() autobench.Options {
	opts := autobench.Defaults()
	opts.Pushes = 3
	opts.Repositories, opts.TagsEach, opts.Rounds, opts.Interval = 40, 5, 1, 10*time.Second
	opts.Tags, opts.NewTags = 1500, 3
	opts.Files, opts.Bumps = 2000, 2
	opts.Writers, opts.Updates, opts.Pause = 4, 5, 200*time.Millisecond
	return opts
}

func TestEngine(t *testing.T) {
	t.Parallel()
	program, err := env.BuildAutomator(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	checks := map[string]func(*testing.T, autobench.Report){
		autobench.PushPart: checkPush, autobench.ScanPart: checkScan, autobench.TagsPart: checkTags,
		autobench.EditPart: checkEdit, autobench.RacePart: checkRace,
	}
	for _, part := range autobench.Parts() {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && part != autobench.PushPart && part != autobench.ScanPart {
				t.Skip("takes minutes, and a quiet machine: make integration SUITE=engine")
			}
			opts := small()
			opts.Only, opts.Program, opts.Say = []string{part}, program, t.Logf
			report, err := autobench.Run(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			checks[part](t, report)
		})
	}
}

func checkPush(t *testing.T, r autobench.Report) {
	t.Helper()
	if r.Push.Samples != small().Pushes || r.Push.P50 <= 0 || r.Push.BareP50 <= 0 {
		t.Errorf("measured: %+v", *r.Push)
	}
}

func checkScan(t *testing.T, r autobench.Report) {
	t.Helper()
	if s := r.Scan; s.Requests > float64(s.Repositories) || s.Rounds < 1 {
		t.Errorf("%v requests for a look at each of %d repositories in %v rounds", s.Requests, s.Repositories, s.Rounds)
	}
	if r.Scan.Refused > 0 {
		t.Errorf("%d requests were more than the limit", r.Scan.Refused)
	}
}

func checkTags(t *testing.T, r autobench.Report) {
	t.Helper()
	s := r.Tags
	if s.First.Inspected != s.Tags {
		t.Errorf("%d of %d tags were inspected", s.First.Inspected, s.Tags)
	}
	if s.Second.Inspected != s.NewTags || s.Restart.Inspected != 0 {
		t.Errorf("%d were inspected for %d new ones, and %d after a restart", s.Second.Inspected, s.NewTags, s.Restart.Inspected)
	}
}

func checkEdit(t *testing.T, r autobench.Report) {
	t.Helper()
	if r.Edit.Samples != small().Bumps || r.Edit.Commit <= 0 || r.Edit.Behind <= 0 {
		t.Errorf("measured: %+v", *r.Edit)
	}
}

func checkRace(t *testing.T, r autobench.Report) {
	t.Helper()
	s := r.Race
	if s.Landed != s.Updates || s.Duplicates > 0 {
		t.Errorf("%d of %d updates landed, %d of them twice", s.Landed, s.Updates, s.Duplicates)
	}
	if s.Lost > 0 || s.Foreign == 0 {
		t.Errorf("%d of %d foreign commits were lost", s.Lost, s.Foreign)
	}
}
