package converge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// metrics count what the loop does, all Syncs together. What each Sync is like is told by the composition root.
type metrics struct {
	passes  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	busy    *prometheus.GaugeVec
	verdict *prometheus.CounterVec
	renders *prometheus.HistogramVec
	plans   *prometheus.CounterVec
	steps   *prometheus.CounterVec
	failed  *prometheus.CounterVec
	drifted *prometheus.CounterVec
	applied *prometheus.HistogramVec
}

// The values of labels.
const (
	doneWell = "done"
	hindered = "hindered"
	healed   = "healed"
	told     = "reported"
	asItIs   = "accepted"
)

func newMetrics(registerer prometheus.Registerer, l *Loop) *metrics {
	m := meter.New(registerer)
	m.Read("tandem_synchronizer_converge_queue_length", "Syncs that wait for a worker.", func() float64 { return float64(l.queue.Len()) })
	m.Read("tandem_synchronizer_converge_waiting_syncs", "Syncs that wait because as many are being applied as may be, of all or of their namespace.",
		func() float64 { return float64(l.lanes.Waiting()) })
	return &metrics{
		passes: m.Counter("tandem_synchronizer_converge_passes_total", "Passes over a Sync: done, or hindered and to be tried again.",
			meter.Of("result", doneWell, hindered)),
		seconds: m.Histogram("tandem_synchronizer_converge_pass_seconds", "How long a pass over a Sync takes."),
		busy:    m.Gauge("tandem_synchronizer_converge_busy_workers", "Workers that are at a Sync now."),
		verdict: m.Counter("tandem_synchronizer_verifications_total", "Chains of commits that were verified: followed to their end, or refused before it.",
			meter.Of("result", "verified", "refused")),
		renders: m.Histogram("tandem_synchronizer_render_seconds", "How long it takes to make objects of a tree."),
		plans: m.Counter("tandem_synchronizer_plans_total", "Plans made: empty ones cost no request.",
			meter.Of("result", "empty", "steps")),
		steps: m.Counter("tandem_synchronizer_plan_steps_total", "Steps that were taken, by what and why.",
			meter.Of("action", "apply", "delete"),
			meter.Of("reason", string(plan.New), string(plan.Changed), string(plan.Drifted), string(plan.Vanished), string(plan.Unrecorded), string(plan.Gone))),
		failed: m.Counter("tandem_synchronizer_plan_step_failures_total", "Steps that failed, by what can be done about it.",
			meter.Of("class", string(apply.Blocked), string(apply.Conflict), string(apply.Denied), string(apply.Invalid), string(apply.NoNamespace),
				string(apply.Owned), string(apply.Refused), string(apply.Unavailable), string(apply.UnknownKind), string(apply.Unexpected))),
		drifted: m.Counter("tandem_synchronizer_drift_total", "Objects that differed from Git though Git had not changed: put right, only reported, or accepted because admission makes them so.",
			meter.Of("result", healed, told, asItIs)),
		applied: m.Histogram("tandem_synchronizer_apply_seconds", "How long it takes to take all steps of a plan."),
	}
}

// passed takes note of a pass.
func (m *metrics) passed(began time.Time, wasHindered bool) {
	m.seconds.WithLabelValues().Observe(time.Since(began).Seconds())
	result := doneWell
	if wasHindered {
		result = hindered
	}
	m.passes.WithLabelValues(result).Inc()
}

func (m *metrics) judged(refused bool) {
	m.verdict.WithLabelValues(pick(refused, "refused", "verified")).Inc()
}

func (m *metrics) planned(steps int) {
	m.plans.WithLabelValues(pick(steps > 0, "steps", "empty")).Inc()
}

// took takes note of a step.
func (m *metrics) took(r apply.Result) {
	action := "apply"
	if r.Step.Action == plan.Delete {
		action = "delete"
	}
	m.steps.WithLabelValues(action, string(r.Step.Reason)).Inc()
	if r.Err != nil {
		m.failed.WithLabelValues(string(apply.ClassOf(r.Err))).Inc()
	}
}
