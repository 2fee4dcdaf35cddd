package update

import (
	"testing"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/policy"
)

// What is remembered is what would be chosen anew.
func TestSelections(t *testing.T) {
	t.Parallel()
	young, err := policy.New(policy.Config{MinAge: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tags := func(names ...string) (tags []policy.Tag) {
		for _, name := range names {
			tags = append(tags, policy.Tag{Name: name, Pushed: now.Add(-30 * time.Minute)})
		}
		return tags
	}
	first := tags("1.0.0", "1.1.0")
	who := chooser{pipeline: &pipeline.Pipeline{App: "shop"}, image: "api"}
	var s selections
	for _, step := range []struct {
		reason string
		tags   []policy.Tag
		now    time.Time
		at     string
		want   string
		known  bool
	}{
		{"Nobody has asked.", first, now, "1.0.0", "1.0.0", false},
		{"One was asked before.", first, now, "1.0.0", "1.0.0", true},
		{"Git has another tag.", first, now, "0.9.0", "0.9.0", false},
		{"The registry has another tag.", tags("1.0.0", "1.1.0"), now, "0.9.0", "0.9.0", false},
		{"A tag has become old enough.", first, now.Add(time.Hour), "1.0.0", "1.1.0", false},
	} {
		s.begin()
		in := policy.Input{Tags: step.tags, Current: policy.Tag{Name: step.at}, Now: step.now}
		if known := s.last[who].answers(in); known != step.known {
			t.Errorf("%s answers(...): got %t", step.reason, known)
		}
		if got := s.choose(who, young, in, 0); got.Tag != step.want {
			t.Errorf("%s choose(...): got %s, want %s", step.reason, got.Tag, step.want)
		}
	}
	s = selections{}
	s.begin()
	in := policy.Input{Tags: first, Current: policy.Tag{Name: "1.0.0"}, Now: now}
	s.choose(who, young, in, 0)
	s.begin()
	in.Now = now.Add(time.Hour)
	if s.last[who].answers(in) {
		t.Error("a selection outlived the moment for which it waited")
	}
	s.begin()
	s.begin()
	if len(s.last) > 0 {
		t.Error("what nobody asked for any more was kept")
	}
}
