package verify

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// metrics count what the loop does.
type metrics struct {
	checks  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// The values of labels.
const (
	signed   = "signed"
	unsigned = "unsigned"
	failed   = "failed"
)

func newMetrics(registerer prometheus.Registerer, c *Checker) *metrics {
	m := meter.New(registerer)
	m.Read("tandem_automator_signature_unsigned_images", "Images that policies would take and that are not signed by whom they must be, or cannot be checked.",
		func() float64 { return c.count() })
	return &metrics{
		checks: m.Counter("tandem_automator_signature_checks_total",
			"Checks of the signatures of images: signed by whom they must be; not; failed, because a registry did not answer.",
			meter.Of("result", signed, unsigned, failed)),
		seconds: m.Histogram("tandem_automator_signature_check_seconds", "How long a check of the signatures of an image takes."),
	}
}

func (m *metrics) checked(began time.Time, verdict signature.Verdict, err error) {
	result := unsigned
	switch {
	case err != nil:
		result = failed
	case verdict.Kept:
		result = signed
	}
	m.seconds.WithLabelValues().Observe(time.Since(began).Seconds())
	m.checks.WithLabelValues(result).Inc()
}

// count returns how many images are not known to be signed though somebody looked.
func (c *Checker) count() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, known := range c.checks {
		if known.unsigned() {
			n++
		}
	}
	return float64(n)
}
