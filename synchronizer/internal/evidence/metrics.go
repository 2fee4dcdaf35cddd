package evidence

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// metrics count what became of checks.
type metrics struct{ checks *prometheus.CounterVec }

func newMetrics(registerer prometheus.Registerer) *metrics {
	return &metrics{checks: meter.New(registerer).Counter("tandem_synchronizer_image_checks_total",
		"Checks of who signed an image, by what came of them: signed, unsigned, or unavailable when the automator did not answer.",
		meter.Of("result", "signed", "unsigned", "unavailable"))}
}

func (m *metrics) checked(result string) { m.checks.WithLabelValues(result).Inc() }
