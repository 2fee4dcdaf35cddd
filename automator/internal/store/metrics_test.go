package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/shared/fault"
)

// TestRefusalsAreNoFailures has transactions that were refused, and one that failed.
func TestRefusalsAreNoFailures(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	s := mustOpen(t, store.Config{Path: filepath.Join(t.TempDir(), "tandem.db"), Metrics: registry})
	if err := s.PutToken(t.Context(), store.Token{Hash: "h", Cluster: "prod", Created: epoch, Expires: epoch.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Revoke(t.Context(), "cluster", "stage", epoch); err != nil {
		t.Fatal(err)
	}
	if err := s.PutCertificate(t.Context(), store.Identity{Role: "cluster", Name: "stage", Issued: epoch}, epoch); !errors.Is(err, store.ErrRevoked) {
		t.Fatal(err)
	}
	for _, refusal := range []error{fault.New(fault.Unauthorized, "another key"), errors.New("the disk is full")} {
		_, _, err := s.RedeemToken(t.Context(), "h", "key", epoch, func(store.Token) error { return refusal })
		if !errors.Is(err, refusal) {
			t.Fatal(err)
		}
	}
	const name = "tandem_automator_store_write_failures_total"
	want := "# HELP " + name + " Transactions of the writer that failed; what was refused did not.\n# TYPE " + name + " counter\n" + name + " 1\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), name); err != nil {
		t.Error(err)
	}
}
