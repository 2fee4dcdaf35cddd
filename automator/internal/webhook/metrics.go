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
	calls    *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer, callers []Caller) *metrics {
	m := meter.New(registerer)
	names := make([]string, len(callers))
	for i, c := range callers {
		names[i] = c.Name
	}
	return &metrics{
		requests: m.Counter("tandem_automator_webhook_requests_total", "Calls of registries and Git hosts, by the status of our answer.",
			meter.Any("code")),
		hints: m.Counter("tandem_automator_webhook_hints_total", "Hints that somebody wanted to hear.", meter.Of("hook", "registry", "git")),
		calls: m.Counter("tandem_automator_webhook_calls_total", "Calls that were taken, by the name of the caller.", meter.Of("caller", names...)),
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
