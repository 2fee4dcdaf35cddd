package update

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/automator/internal/githost"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// metrics count what the writer of one branch does.
type metrics struct {
	passes  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	pushes  *prometheus.CounterVec
	push    *prometheus.HistogramVec
}

// The values of labels.
const (
	looked    = "looked"
	notLooked = "failed"

	taken   = "taken"
	lost    = "lost"
	refused = "refused"
	unsent  = "unsent"
	unclear = "unknown"
)

func newMetrics(registerer prometheus.Registerer, u *Updater) *metrics {
	m := meter.New(registerer)
	m.Read("tandem_automator_update_problems", "What keeps the writer of a branch from writing what policies ask for; tandem status lists it.",
		func() float64 { return float64(len(u.Status().Problems)) })
	return &metrics{
		passes: m.Counter("tandem_automator_update_passes_total", "Looks of the writer at its branch, by how they went.",
			meter.Of("result", looked, notLooked)),
		seconds: m.Histogram("tandem_automator_update_pass_seconds", "How long the writer takes to look, decide and write."),
		pushes: m.Counter("tandem_automator_update_pushes_total",
			"Commits pushed: taken; lost to another writer and made anew; refused by the host; not sent; of unknown outcome.",
			meter.Of("result", taken, lost, refused, unsent, unclear)),
		push: m.Histogram("tandem_automator_update_push_seconds", "How long it takes to commit and to push, until the Git server has answered."),
	}
}

func (m *metrics) pushed(began time.Time, err error) {
	m.push.WithLabelValues().Observe(time.Since(began).Seconds())
	m.pushes.WithLabelValues(outcome(err)).Inc()
}

func outcome(err error) string {
	switch {
	case err == nil:
		return taken
	case errors.Is(err, gitrepo.ErrOutcomeUnknown):
		return unclear
	case fault.Is(err, fault.Conflict):
		return lost
	case fault.Is(err, fault.Unavailable), isLater(err):
		return unsent
	default:
		return refused
	}
}

// isLater tells whether a host wants to be asked again later.
func isLater(err error) bool {
	_, later := errors.AsType[*githost.LaterError](err)
	return later
}
