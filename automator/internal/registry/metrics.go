package registry

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// maxMeasured bounds the registries that are told apart in metrics; pipelines name them, and so whoever can push to Git.
const maxMeasured = 100

// metrics count what is asked of registries.
type metrics struct {
	names    *meter.Names
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	waited   *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := meter.New(registerer)
	return &metrics{
		names: meter.NewNames(maxMeasured),
		requests: m.Counter("tandem_automator_registry_requests_total",
			"Requests to registries and their token servers, by the class of the answer; 429 by itself, error for none.",
			meter.Any("registry"), meter.Any("code")),
		seconds: m.Histogram("tandem_automator_registry_request_seconds",
			"How long registries take to answer a request.", meter.Any("registry")),
		waited: m.Counter("tandem_automator_registry_wait_seconds_total",
			"How long requests waited for the budget of their registry.", meter.Any("registry")),
	}
}

func (m *metrics) answered(registry string, began time.Time, resp *http.Response) {
	registry = m.names.Name(registry)
	m.seconds.WithLabelValues(registry).Observe(time.Since(began).Seconds())
	m.requests.WithLabelValues(registry, codeOf(resp)).Inc()
}

func (m *metrics) waitedFor(registry string, began time.Time) {
	m.waited.WithLabelValues(m.names.Name(registry)).Add(time.Since(began).Seconds())
}

// codeOf is one of seven values, whatever a registry answers.
func codeOf(resp *http.Response) string {
	switch {
	case resp == nil:
		return "error"
	case resp.StatusCode == http.StatusTooManyRequests:
		return "429"
	case resp.StatusCode < 100 || resp.StatusCode > 599:
		return meter.Other
	default:
		return strconv.Itoa(resp.StatusCode/100) + "xx"
	}
}
