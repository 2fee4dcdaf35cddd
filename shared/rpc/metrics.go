package rpc

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// Metrics count the calls that servers take. Both agents have them, with their name in front. Methods that nobody
// registered never come here, so that both labels are bounded.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	panics   *prometheus.CounterVec
}

// NewMetrics registers the metrics, once for all servers of a process; with nil they count for nobody.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := meter.New(registerer)
	return &Metrics{
		requests: m.Counter("rpc_requests_total", "Calls that have ended, by method and gRPC code; a stream counts when it ends.",
			meter.Any("method"), meter.Any("code")),
		seconds: m.Histogram("rpc_request_seconds", "How long calls take that are no streams.", meter.Any("method")),
		panics:  m.Counter("rpc_panics_total", "Calls whose handler panicked; each is a bug."),
	}
}

func (m *Metrics) ended(method string, err error) {
	m.requests.WithLabelValues(method, status.Code(err).String()).Inc()
}

func (m *Metrics) took(method string, began time.Time) {
	m.seconds.WithLabelValues(method).Observe(time.Since(began).Seconds())
}
