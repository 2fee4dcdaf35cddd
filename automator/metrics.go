package automator

import (
	"cmp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

// measure makes the metrics of what no package knows alone: the fleet and the certificates.
func (a *Automator) measure() {
	m := meter.New(a.metrics)
	a.measured = rpc.NewMetrics(prometheus.WrapRegistererWithPrefix("tandem_automator_", a.metrics))
	m.Collect("tandem_automator_clusters", "Clusters that have been connected since this process began.", []string{"connected"},
		func(set func(float64, ...string)) {
			connected, all := 0, a.fleet.Clusters()
			for _, cluster := range all {
				if cluster.GetConnected() {
					connected++
				}
			}
			set(float64(connected), "true")
			set(float64(len(all)-connected), "false")
		})
	m.Collect("tandem_automator_syncs", "Syncs of all clusters, by state.", []string{"state"},
		func(set func(float64, ...string)) {
			counts := map[statusv1.SyncState]int{}
			for _, sync := range a.fleet.Syncs(nil) {
				counts[sync.GetState()]++
			}
			for number, name := range statusv1.SyncState_name {
				if number != 0 {
					set(float64(counts[statusv1.SyncState(number)]), strings.ToLower(strings.TrimPrefix(name, "SYNC_STATE_")))
				}
			}
		})
	m.Collect("tandem_automator_certificate_expiry_timestamp_seconds", "When certificates end; the CA's first one, if there are several.", []string{"use"},
		func(set func(float64, ...string)) {
			for use, file := range map[string]string{"server": a.cfg.TLS.Cert, "ca": cmp.Or(a.cfg.TLS.CA, a.cfg.Authority.CertFile)} {
				if at, err := rpc.Expiry(file); err == nil {
					set(float64(at.Unix()), use)
				}
			}
		})
}
