package synchronizer

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/telemetry/meter"
	"github.com/tandem-cd/tandem/synchronizer/internal/lease"
)

// Those who stand by know every Sync, and whoever works for it shows it already.
func TestWhoStandsByMeasuresNoSync(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		holder *lease.Holder
		shows  bool
	}{
		"Works":    {shows: true},
		"StandsBy": {holder: lease.New(lease.Config{}, nil, &lease.Fence{}, zap.NewNop())},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &Synchronizer{fleet: fleet.New(), holder: tc.holder}
			if err := s.fleet.Put(&statusv1.Sync{Cluster: "dev", Namespace: "shop", Name: "web", State: statusv1.SyncState_SYNC_STATE_HEALTHY}); err != nil {
				t.Fatal(err)
			}
			registry := prometheus.NewRegistry()
			s.measureSyncs(meter.New(registry))
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			if shows := len(families) > 0; shows != tc.shows {
				t.Errorf("%d metrics, want some: %v", len(families), tc.shows)
			}
		})
	}
}
