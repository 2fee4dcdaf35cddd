package scan

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// metrics count what the loop does.
type metrics struct {
	looks   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	hints   *prometheus.CounterVec
	news    *prometheus.CounterVec
}

// The values of labels.
const (
	complete = "complete"
	partial  = "partial"
	failed   = "failed"

	confirmed = "confirmed"
	unknown   = "unknown"
)

func newMetrics(registerer prometheus.Registerer, s *Scanner) *metrics {
	m := meter.New(registerer)
	m.Read("tandem_automator_scan_repositories", "Image repositories that pipelines follow.",
		func() float64 { return s.count(func(*repository) bool { return true }) })
	m.Read("tandem_automator_scan_failing_repositories", "Image repositories whose last look was not complete.",
		func() float64 { return s.count(func(r *repository) bool { return r.scan.LastError != "" }) })
	return &metrics{
		looks: m.Counter("tandem_automator_scan_looks_total", "Looks at image repositories, by how they went.",
			meter.Of("result", complete, partial, failed)),
		seconds: m.Histogram("tandem_automator_scan_look_seconds", "How long a look at an image repository takes."),
		hints: m.Counter("tandem_automator_scan_hints_total", "Hints of webhooks that the registry was asked about, by its answer.",
			meter.Of("result", confirmed, unknown)),
		news: m.Counter("tandem_automator_scan_changes_total", "Looks and hints that found a tag or a digest new or changed."),
	}
}

// count returns how many repositories there are of a sort.
func (s *Scanner) count(is func(*repository) bool) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.repositories {
		if is(r) {
			n++
		}
	}
	return float64(n)
}

func (m *metrics) looked(began time.Time, err error) {
	m.seconds.WithLabelValues().Observe(time.Since(began).Seconds())
	result := complete
	switch {
	case errors.Is(err, errCut):
		result = partial
	case err != nil:
		result = failed
	}
	m.looks.WithLabelValues(result).Inc()
}

func (m *metrics) hinted(err error) {
	result := confirmed
	if err != nil {
		result = unknown
	}
	m.hints.WithLabelValues(result).Inc()
}
