package webhook

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// metrics count calls and the hints in them.
type metrics struct {
	requests *prometheus.CounterVec
	hints    *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := meter.New(registerer)
	return &metrics{
		requests: m.Counter("tandem_automator_webhook_requests_total", "Calls of registries and Git hosts, by the status of our answer.",
			meter.Any("code")),
		hints: m.Counter("tandem_automator_webhook_hints_total", "Hints that somebody wanted to hear.", meter.Of("hook", "registry", "git")),
	}
}

// counted is a ResponseWriter that tells which status went out; the codes are those of this package and of net/http's mux.
type counted struct {
	http.ResponseWriter

	metrics *metrics
}

// WriteHeader counts.
func (c *counted) WriteHeader(code int) {
	c.metrics.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	c.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the connection.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }
