package bench

import (
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
)

func median(samples []time.Duration) time.Duration { return measure.Percentile(samples, 50) }

// seconds is a duration in seconds with three digits behind the point.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond)) / float64(time.Second)
}

// ratio has three digits behind the point.
func ratio(a, b time.Duration) float64 {
	if b <= 0 {
		return 0
	}
	return float64(int(1000*float64(a)/float64(b)+0.5)) / 1000
}
