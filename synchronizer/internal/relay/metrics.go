package relay

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// metrics count what comes from the automator.
type metrics struct {
	connected     *prometheus.GaugeVec
	sessions      *prometheus.CounterVec
	last          *prometheus.GaugeVec
	announcements *prometheus.CounterVec
	transfers     *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	bytes         *prometheus.CounterVec
	objects       *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := meter.New(registerer)
	return &metrics{
		connected: m.Gauge("tandem_synchronizer_relay_connected", "1 while the automator answers on the Follow stream, else 0."),
		sessions: m.Counter("tandem_synchronizer_relay_sessions_total", "Follow streams that have ended: in good order, or lost.",
			meter.Of("result", "over", "lost")),
		last:          m.Gauge("tandem_synchronizer_relay_last_message_timestamp_seconds", "When the automator's last message came, heartbeats included; 0 for never."),
		announcements: m.Counter("tandem_synchronizer_relay_announcements_total", "Announcements of the automator."),
		transfers: m.Counter("tandem_synchronizer_relay_transfers_total", "Transfers of Git objects, by how they ended.",
			meter.Of("result", "done", "failed")),
		seconds: m.Histogram("tandem_synchronizer_relay_transfer_seconds", "How long a transfer takes."),
		bytes:   m.Counter("tandem_synchronizer_relay_transfer_bytes_total", "Bytes of Git objects that arrived whole."),
		objects: m.Counter("tandem_synchronizer_relay_transfer_objects_total", "Git objects that arrived whole."),
	}
}

// ended takes note of the end of a Follow stream.
func (m *metrics) ended(err error) {
	m.connected.WithLabelValues().Set(0)
	result := "lost"
	if err == nil || errors.Is(err, errOver) {
		result = "over"
	}
	m.sessions.WithLabelValues(result).Inc()
}

func (m *metrics) transferred(began time.Time, got received, err error) {
	m.seconds.WithLabelValues().Observe(time.Since(began).Seconds())
	if err != nil {
		m.transfers.WithLabelValues("failed").Inc()
		return
	}
	m.transfers.WithLabelValues("done").Inc()
	m.bytes.WithLabelValues().Add(float64(got.bytes))
	m.objects.WithLabelValues().Add(float64(got.objects))
}
