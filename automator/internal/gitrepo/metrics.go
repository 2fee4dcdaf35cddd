package gitrepo

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// metrics count the commands that talk to the remote.
type metrics struct {
	commands *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	fetched  *prometheus.GaugeVec
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := meter.New(registerer)
	command := meter.Of("command", "fetch", "fetch-ref", "ls-remote", "push")
	return &metrics{
		commands: m.Counter("tandem_automator_git_commands_total", "Commands of git that talked to the remote, or what stands for them, by how they ended.",
			command, meter.Of("result", "done", "failed", "stopped")),
		seconds: m.Histogram("tandem_automator_git_command_seconds", "How long commands of git took that talked to the remote.", command),
		fetched: m.Gauge("tandem_automator_git_last_fetch_timestamp_seconds", "When the remote was fetched last without an error; 0 for not yet."),
	}
}

// ran takes note of a command that talked to the remote.
func (m *metrics) ran(name string, began time.Time, err error) {
	m.seconds.WithLabelValues(name).Observe(time.Since(began).Seconds())
	switch {
	case err == nil:
		m.commands.WithLabelValues(name, "done").Inc()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		m.commands.WithLabelValues(name, "stopped").Inc()
	default:
		m.commands.WithLabelValues(name, "failed").Inc()
	}
	if name == "fetch" && err == nil {
		m.fetched.WithLabelValues().SetToCurrentTime()
	}
}
