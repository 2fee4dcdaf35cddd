package bench

import (
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for i := 100; i > 0; i-- {
		hundred = append(hundred, time.Duration(i))
	}
	cases := map[string]struct {
		samples []time.Duration
		p       int
		want    time.Duration
	}{
		"None":    {samples: nil, p: 50, want: 0},
		"One":     {samples: []time.Duration{7}, p: 99, want: 7},
		"Median":  {samples: hundred, p: 50, want: 50},
		"Tail":    {samples: hundred, p: 99, want: 99},
		"Highest": {samples: []time.Duration{1, 2, 3}, p: 99, want: 3},
	}
	for name, tc := range cases {
		if got := percentile(tc.samples, tc.p); got != tc.want {
			t.Errorf("%s: percentile(%d): got %d, want %d", name, tc.p, got, tc.want)
		}
	}
	if got := ratio(3*time.Second, 2*time.Second); got != 1.5 {
		t.Errorf("ratio(3s, 2s): got %v", got)
	}
}

func TestWorkloadHasThePromisedMix(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	files := Workload("a", 1000)
	for _, content := range files {
		all.WriteString(content)
	}
	for kind, want := range map[string]int{"ConfigMap": 700, "Deployment": 200, "Service": 100} {
		if got := strings.Count(all.String(), "kind: "+kind+"\n"); got != want {
			t.Errorf("%s: got %d, want %d", kind, got, want)
		}
	}
	if len(files) != 100 {
		t.Errorf("files: got %d, want 100", len(files))
	}
}
