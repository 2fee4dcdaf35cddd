package relay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// metrics count what goes over the relay, all clusters together: there may be thousands. tandem status tells them apart.
type metrics struct {
	announcements *prometheus.CounterVec
	problems      *prometheus.CounterVec
	drains        *prometheus.CounterVec
	transfers     *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	bytes         *prometheus.CounterVec
	objects       *prometheus.CounterVec
	events        *prometheus.CounterVec
	statuses      *prometheus.CounterVec
	questions     *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer, s *Server) *metrics {
	m := meter.New(registerer)
	m.Collect("tandem_automator_relay_streams", "Streams of clusters that are open.", []string{"method"},
		func(set func(float64, ...string)) {
			set(float64(s.follows.count()), "Follow")
			set(float64(s.reports.count()), "Report")
			set(float64(s.serving.Load()), "Serve")
		})
	return &metrics{
		announcements: m.Counter("tandem_automator_relay_announcements_total", "Contents announced to clusters."),
		problems:      m.Counter("tandem_automator_relay_source_problems_total", "Times that a cluster was told why a source cannot be served."),
		drains:        m.Counter("tandem_automator_relay_drains_total", "Streams that were asked to connect anew."),
		transfers: m.Counter("tandem_automator_relay_transfers_total", "Transfers of objects to clusters, by how they ended.",
			meter.Of("result", "done", "failed")),
		seconds: m.Histogram("tandem_automator_relay_transfer_seconds", "How long a transfer takes, with what it waits for its turn."),
		bytes:   m.Counter("tandem_automator_relay_transfer_bytes_total", "Bytes of objects that were transferred."),
		objects: m.Counter("tandem_automator_relay_transfer_objects_total", "Objects that were transferred."),
		events:  m.Counter("tandem_automator_relay_events_total", "Lifecycle events that clusters reported and the store has, repeated ones too."),
		statuses: m.Counter("tandem_automator_relay_statuses_total",
			"States of Syncs that clusters reported."),
		questions: m.Counter("tandem_automator_relay_questions_total", "Questions of people to clusters, by how they ended.",
			meter.Of("result", "answered", "failed")),
	}
}

// transferred takes note of a transfer; plan is nil when it did not come to one.
func (m *metrics) transferred(began time.Time, plan *transfer, err error) {
	m.seconds.WithLabelValues().Observe(time.Since(began).Seconds())
	if err != nil {
		m.transfers.WithLabelValues("failed").Inc()
		return
	}
	m.transfers.WithLabelValues("done").Inc()
	m.bytes.WithLabelValues().Add(float64(plan.bytes))
	m.objects.WithLabelValues().Add(float64(len(plan.pieces)))
}

// asked takes note of the end of a question.
func (m *metrics) asked(err error) {
	result := "answered"
	if err != nil {
		result = "failed"
	}
	m.questions.WithLabelValues(result).Inc()
}

// count returns how many sessions are open.
func (s *sessions) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, replicas := range s.open {
		n += len(replicas)
	}
	return n
}
