package store

import (
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// metrics count what is written.
type metrics struct {
	events  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	failed  *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer, size func() float64) *metrics {
	m := meter.New(registerer)
	m.Read("tandem_automator_store_bytes", "Size of the store: of its files, or of its tables with their indices.", size)
	return &metrics{
		events:  m.Counter("tandem_automator_store_events_total", "Events appended to the log."),
		seconds: m.Histogram("tandem_automator_store_write_seconds", "How long a transaction of the writer takes, with its wait."),
		failed:  m.Counter("tandem_automator_store_write_failures_total", "Transactions of the writer that failed; what was refused did not."),
	}
}

// sizeOf returns the bytes of an SQLite file with its log.
func sizeOf(path string) float64 {
	files, _ := filepath.Glob(path + "*") // the pattern is a path of ours
	var size int64
	for _, file := range files {
		if stat, err := os.Stat(file); err == nil {
			size += stat.Size()
		}
	}
	return float64(size)
}

func (m *metrics) wrote(began time.Time, err error) {
	m.seconds.WithLabelValues().Observe(time.Since(began).Seconds())
	if failed(err) {
		m.failed.WithLabelValues().Inc()
	}
}

// failed reports whether a transaction could not be done; one that was refused could.
func failed(err error) bool {
	return fault.Is(err, fault.Internal) || fault.Is(err, fault.Unavailable)
}
