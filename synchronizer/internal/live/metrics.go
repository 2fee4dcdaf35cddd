package live

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// metrics count what the watches do.
type metrics struct {
	lists   *prometheus.CounterVec
	watches *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer, s *Store) *metrics {
	m := meter.New(registerer)
	m.Collect("tandem_synchronizer_live_watches", "Watches of managed objects, by whether they bring what they should now.", []string{"state"},
		func(set func(float64, ...string)) {
			running, failing := s.health()
			set(float64(running), "running")
			set(float64(failing), "failing")
		})
	m.Read("tandem_synchronizer_live_records", "Objects that are known, in compact records.", func() float64 { return float64(s.size()) })
	return &metrics{
		lists: m.Counter("tandem_synchronizer_live_lists_total", "Lists that were asked for; a watch that is served from its beginning needs none.",
			meter.Of("result", "done", "failed")),
		watches: m.Counter("tandem_synchronizer_live_watch_starts_total", "Watches that were begun; the API server ends each within minutes.",
			meter.Of("result", "done", "failed")),
	}
}

func resultOf(err error) string {
	if err != nil {
		return "failed"
	}
	return "done"
}

// health counts the watches that work and those that do not.
func (s *Store) health() (running, failing int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, w := range s.watches {
		if w.err() != nil {
			failing++
		} else {
			running++
		}
	}
	return running, failing
}

// size counts the records.
func (s *Store) size() (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, w := range s.watches {
		n += len(w.records)
	}
	return n
}
