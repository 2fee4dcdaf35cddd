// Package meter makes metrics and registers them with an injected Registerer.
//
// Every name is written whole where the metric is made, so that it is found by searching for it, and has one row in
// docs/metrics.md. Labels come in two kinds: those whose values are known, which all exist from the start so that a rate
// is right from the first event on, and those whose values come from configuration or Git, which pass through Names.
package meter

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Other is the value that Names gives to what comes after its limit.
const Other = "other"

// Seconds are the bounds of histograms of durations: from what a local request takes to what a person waits for.
func Seconds() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
}

// Label is a label of a metric.
type Label struct {
	name   string
	values []string
}

// Of is a label with values that are all known; each exists from the start.
func Of(name string, values ...string) Label { return Label{name: name, values: values} }

// Any is a label whose values are not known here. Whoever sets it MUST bound how many there are, with Names or otherwise.
func Any(name string) Label { return Label{name: name} }

// Meter makes metrics. With a nil Registerer they count for nobody.
type Meter struct{ registerer prometheus.Registerer }

// New returns a meter. A name that is registered twice panics: that is a mistake of the programmer.
func New(registerer prometheus.Registerer) Meter { return Meter{registerer: registerer} }

// Counter makes a counter.
func (m Meter) Counter(name, help string, labels ...Label) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, names(labels))
	m.register(vec)
	each(labels, func(values []string) { vec.WithLabelValues(values...) })
	return vec
}

// Gauge makes a gauge.
func (m Meter) Gauge(name, help string, labels ...Label) *prometheus.GaugeVec {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, names(labels))
	m.register(vec)
	each(labels, func(values []string) { vec.WithLabelValues(values...) })
	return vec
}

// Histogram makes a histogram of durations in seconds.
func (m Meter) Histogram(name, help string, labels ...Label) *prometheus.HistogramVec {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: Seconds()}, names(labels))
	m.register(vec)
	each(labels, func(values []string) { vec.WithLabelValues(values...) })
	return vec
}

// Read makes a gauge that is read at every scrape. read must be fast and safe for concurrent use.
func (m Meter) Read(name, help string, read func() float64) {
	m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Collect registers gauges that are read together at every scrape: collect calls set for each value there is now.
func (m Meter) Collect(name, help string, labels []string, collect func(set func(value float64, labels ...string))) {
	m.register(&collector{desc: prometheus.NewDesc(name, help, labels, nil), collect: collect})
}

func (m Meter) register(c prometheus.Collector) {
	if m.registerer != nil {
		m.registerer.MustRegister(c)
	}
}

func names(labels []Label) []string {
	out := make([]string, len(labels))
	for i, label := range labels {
		out[i] = label.name
	}
	return out
}

// each calls set with every combination of label values, unless one of the labels has unknown ones.
func each(labels []Label, set func(values []string)) {
	combinations := [][]string{nil}
	for _, label := range labels {
		var next [][]string
		for _, before := range combinations {
			for _, value := range label.values {
				next = append(next, append(slices.Clone(before), value))
			}
		}
		combinations = next
	}
	for _, values := range combinations {
		set(values)
	}
}

type collector struct {
	desc    *prometheus.Desc
	collect func(set func(value float64, labels ...string))
}

// Describe says which metric there is.
func (c *collector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect reads it.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.collect(func(value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, value, labels...)
	})
}

// Names bounds the values of a label: the first so many are kept, whatever comes later is Other.
type Names struct {
	limit int
	mu    sync.Mutex
	known map[string]bool
}

// NewNames returns a bound of so many values.
func NewNames(limit int) *Names { return &Names{limit: limit, known: map[string]bool{}} }

// Name returns the value to use for a name.
func (n *Names) Name(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known[name] {
		return name
	}
	if len(n.known) >= n.limit {
		return Other
	}
	n.known[name] = true
	return name
}
