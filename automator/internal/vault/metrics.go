package vault

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// What is asked of Vault, in metrics.
const (
	opLogin  = "login"
	opRenew  = "renew"
	opLookup = "lookup"
	opRead   = "read"
)

// metrics count what is asked of Vault, and how the secrets stand.
type metrics struct{ requests *prometheus.CounterVec }

func newMetrics(registerer prometheus.Registerer, standings func() []shortlived.Standing) *metrics {
	m := meter.New(registerer)
	m.Collect("tandem_automator_vault_secrets", "Secrets of Vault: current; kept from before, since Vault gives none; or missing.", []string{"state"},
		func(set func(float64, ...string)) {
			counts := map[string]int{"current": 0, "kept": 0, "missing": 0}
			for _, standing := range standings() {
				counts[stateOf(standing)]++
			}
			for state, count := range counts {
				set(float64(count), state)
			}
		})
	return &metrics{requests: m.Counter("tandem_automator_vault_requests_total",
		"Requests to Vault, by the class of the answer; 429 by itself, error for none.",
		meter.Of("operation", opLogin, opRenew, opLookup, opRead), meter.Of("code", "2xx", "4xx", "429", "5xx", "error"))}
}

func stateOf(standing shortlived.Standing) string {
	switch {
	case standing.Problem == nil:
		return "current"
	case standing.Counts:
		return "kept"
	}
	return "missing"
}

// answered counts a request by the status of its answer, 0 for none.
func (m *metrics) answered(operation string, status int) {
	code := "error"
	switch {
	case status == http.StatusTooManyRequests:
		code = "429"
	case status >= 100 && status < 600:
		code = strconv.Itoa(status/100) + "xx"
	}
	m.requests.WithLabelValues(operation, code).Inc()
}
