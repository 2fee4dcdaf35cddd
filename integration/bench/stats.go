package bench

import (
	"slices"
	"time"
)

// Spread sums up measurements in milliseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// spread returns the median and the 99th percentile, by nearest rank.
func spread(samples []time.Duration) Spread {
	return Spread{P50: ms(percentile(samples, 50)), P99: ms(percentile(samples, 99))}
}

// percentile returns the nearest-rank percentile; 0 of nothing.
func percentile(samples []time.Duration, p int) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

func median(samples []time.Duration) time.Duration { return percentile(samples, 50) }

// ms is a duration in milliseconds with one digit behind the point.
func ms(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}

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
