package measure_test

import (
	"os"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
)

func TestOf(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for i := 100; i > 0; i-- {
		hundred = append(hundred, time.Duration(i)*time.Millisecond)
	}
	cases := map[string]struct {
		reason  string
		samples []time.Duration
		want    measure.Spread
	}{
		"None":    {reason: "A figure that was not measured is 0.", want: measure.Spread{}},
		"One":     {reason: "One sample is every percentile.", samples: hundred[:1], want: measure.Spread{P50: 100, P99: 100, Max: 100}},
		"Hundred": {reason: "By nearest rank.", samples: hundred, want: measure.Spread{P50: 50, P99: 99, Max: 100}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := measure.Of(tc.samples); got != tc.want {
				t.Errorf("%s\nOf(...): got %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

func TestThisProcess(t *testing.T) {
	t.Parallel()
	resident, err := measure.Resident(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	peak, err := measure.Peak(os.Getpid())
	if err != nil || peak <= 0 || resident <= 0 {
		t.Errorf("got %v MiB, at most %v, %v", resident, peak, err)
	}
	before, _, err := measure.Processor(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const enough = 50 * time.Millisecond
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		after, _, err := measure.Processor(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after-before >= enough {
			return
		}
	}
	t.Errorf("a busy minute took less than %s of processor", enough)
}
