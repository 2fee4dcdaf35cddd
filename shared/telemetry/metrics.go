package telemetry

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// NewMetrics returns a registry with what every process tells of itself: Go's runtime, the process, and which version of
// which program it is. The program's name begins names of ours, such as "tandem_automator".
func NewMetrics(program, version string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	meter.New(registry).Gauge(program+"_build_info", "Always 1; the labels say which version this is.", meter.Of("version", version),
		meter.Of("go_version", runtime.Version())).WithLabelValues(version, runtime.Version()).Set(1)
	return registry
}
