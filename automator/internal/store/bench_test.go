package store_test

import (
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/store"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

func BenchmarkAppendEvents(b *testing.B) {
	for name, size := range map[string]int{"1": 1, "256": 256} {
		b.Run(name, func(b *testing.B) {
			s := openAt(b, b.TempDir()+"/store.db", store.Retention{})
			n := 0
			for b.Loop() {
				events := make([]*statusv1.Event, size)
				for i := range events {
					events[i] = event(n, about(byte(n)), image("sha256:a"))
					n++
				}
				mustAppend(b, s, events...)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkListEvents(b *testing.B) {
	s := openAt(b, b.TempDir()+"/store.db", store.Retention{})
	clusters := []string{"", "prod", "stage", "test"}
	for n := 0; n < 100_000; n += 1000 {
		var events []*statusv1.Event
		for i := range 1000 {
			events = append(events, event(n+i, in(clusters[i%len(clusters)]), about(byte((n+i)/100)), image("sha256:a")))
		}
		mustAppend(b, s, events...)
	}
	filters := map[string]store.EventFilter{
		"All":           {},
		"Cluster":       {Cluster: "prod"},
		"UnknownDigest": {Digest: "sha256:b"},
		"RareState":     {States: []statusv1.EventState{statusv1.EventState_EVENT_STATE_HEALED}},
		"NoSuchCluster": {Cluster: "nowhere"},
	}
	for name, filter := range filters {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				mustList(b, s, filter, store.Page{})
			}
		})
	}
}
