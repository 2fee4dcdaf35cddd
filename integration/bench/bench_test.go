package bench

import (
	"strings"
	"testing"
	"time"
)

func TestRatio(t *testing.T) {
	t.Parallel()
	if got := ratio(3*time.Second, 2*time.Second); got != 1.5 {
		t.Errorf("ratio(3s, 2s): got %v", got)
	}
	if got := ratio(time.Second, 0); got != 0 {
		t.Errorf("ratio(1s, 0): got %v, want 0 where there is nothing to compare with", got)
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
