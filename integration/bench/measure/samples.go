// Package measure sums up samples, and reads what a process takes of the machine.
package measure

import (
	"slices"
	"time"
)

// Spread sums up measurements in milliseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Of returns the percentiles of samples, by nearest rank; zeros of none.
func Of(samples []time.Duration) Spread {
	return Spread{
		P50: Milliseconds(Percentile(samples, 50)), P99: Milliseconds(Percentile(samples, 99)), Max: Milliseconds(Percentile(samples, 100)),
	}
}

// Percentile returns the nearest-rank percentile of samples; 0 of none.
func Percentile(samples []time.Duration, p int) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[max((len(sorted)*p+99)/100, 1)-1]
}

// Milliseconds is a duration in milliseconds with one digit behind the point.
func Milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}

// Seconds is a duration in seconds with two digits behind the point.
func Seconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Millisecond)) / float64(time.Second)
}

// Tenth leaves one digit behind the point of what is not negative.
func Tenth(x float64) float64 { return float64(int(x*10+0.5)) / 10 }
