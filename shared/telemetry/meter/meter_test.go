package meter_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

func TestKnownLabelsExistFromTheStart(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := meter.New(registry)
	m.Counter("looks_total", "Looks.", meter.Of("result", "done", "failed"), meter.Of("kind", "a", "b"))
	m.Counter("requests_total", "Requests.", meter.Any("host"), meter.Of("result", "done"))
	m.Gauge("open", "Open.").WithLabelValues().Set(3)
	m.Read("size", "Size.", func() float64 { return 7 })
	m.Collect("syncs", "Syncs.", []string{"state"}, func(set func(float64, ...string)) { set(1, "current"); set(2, "failed") })
	const want = `# HELP looks_total Looks.
# TYPE looks_total counter
looks_total{kind="a",result="done"} 0
looks_total{kind="a",result="failed"} 0
looks_total{kind="b",result="done"} 0
looks_total{kind="b",result="failed"} 0
# HELP open Open.
# TYPE open gauge
open 3
# HELP size Size.
# TYPE size gauge
size 7
# HELP syncs Syncs.
# TYPE syncs gauge
syncs{state="current"} 1
syncs{state="failed"} 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestWithoutARegistererNothingIsRegistered(t *testing.T) {
	t.Parallel()
	for range 2 { // registered twice it would panic
		meter.New(nil).Counter("looks_total", "Looks.").WithLabelValues().Inc()
	}
}

func TestNamesAreBounded(t *testing.T) {
	t.Parallel()
	names := meter.NewNames(2)
	var got []string
	for _, name := range []string{"a", "b", "c", "a", "d"} {
		got = append(got, names.Name(name))
	}
	if diff := cmp.Diff([]string{"a", "b", meter.Other, "a", meter.Other}, got); diff != "" {
		t.Errorf("Name(...): -want, +got\n%s", diff)
	}
}
