package relaybench

import (
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for i := 100; i > 0; i-- {
		hundred = append(hundred, time.Duration(i)*time.Millisecond)
	}
	cases := map[string]struct {
		reason  string
		samples []time.Duration
		want    Spread
	}{
		"None":    {reason: "A figure that was not measured is 0.", want: Spread{}},
		"One":     {reason: "One sample is every percentile.", samples: hundred[:1], want: Spread{P50: 100, P99: 100, Max: 100}},
		"Hundred": {reason: "By nearest rank.", samples: hundred, want: Spread{P50: 50, P99: 99, Max: 100}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := spread(tc.samples); got != tc.want {
				t.Errorf("%s\nspread(...): got %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

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
