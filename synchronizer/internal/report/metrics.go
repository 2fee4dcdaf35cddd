package report

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// metrics count what goes to the automator.
type metrics struct {
	connected    *prometheus.GaugeVec
	sessions     *prometheus.CounterVec
	events       *prometheus.CounterVec
	acknowledged *prometheus.CounterVec
	givenUp      *prometheus.CounterVec
	statuses     *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer, spool *spool) *metrics {
	m := meter.New(registerer)
	m.Read("tandem_synchronizer_report_events_waiting", "Events that the automator has not acknowledged; it is told again until it has.",
		func() float64 { return float64(spool.size()) })
	return &metrics{
		connected:    m.Gauge("tandem_synchronizer_report_connected", "1 while the automator answers on the Report stream, else 0."),
		sessions:     m.Counter("tandem_synchronizer_report_sessions_total", "Report streams that have ended."),
		events:       m.Counter("tandem_synchronizer_report_events_total", "Events that happened and are to be reported."),
		acknowledged: m.Counter("tandem_synchronizer_report_events_acknowledged_total", "Events that the automator has stored."),
		givenUp:      m.Counter("tandem_synchronizer_report_events_given_up_total", "Events that were given up because too many waited, or could not be kept on disk."),
		statuses:     m.Counter("tandem_synchronizer_report_statuses_total", "States of Syncs that were sent."),
	}
}

// size returns how many events wait.
func (s *spool) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}
