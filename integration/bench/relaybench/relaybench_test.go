package relaybench

import (
	"testing"
	"time"
)

func TestSlope(t *testing.T) {
	t.Parallel()
	var samples []Sample
	for i := range 10 {
		samples = append(samples, Sample{at: time.Duration(i) * time.Minute, Resident: 100 + float64(i), Heap: 50, Goroutines: 1000 - float64(i)})
	}
	if got, want := slope(samples), (Sample{Resident: 60, Goroutines: -60}); got != want {
		t.Errorf("slope(...): got %v, want %v an hour", got, want)
	}
	if got := slope(samples[:1]); got != (Sample{}) {
		t.Errorf("slope(one sample): got %v, want none", got)
	}
}
