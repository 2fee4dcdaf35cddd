package lease_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/lease"
)

func TestKube(t *testing.T) {
	t.Parallel()
	client := kubetest.Client(t, kubetest.Config(t))
	store := lease.NewKube(client, kubetest.Namespace(t, client), "synchronizer")
	none, err := store.Get(t.Context())
	if err != nil || none != (lease.Record{}) {
		t.Fatalf("Get of none: got %+v, %v", none, err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	want := lease.Record{Holder: "a", Term: 1, Duration: 15 * time.Second, Acquired: at, Renewed: at.Add(time.Second)}
	made, err := store.Put(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	want.Version = made.Version
	got, err := store.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || made.Version == "" {
		t.Errorf("Get: -want, +got:\n%s", diff)
	}
	if _, err := store.Put(t.Context(), lease.Record{Holder: "b", Term: 1, Duration: time.Second}); !fault.Is(err, fault.Conflict) {
		t.Errorf("Put of one that exists: got %v, want a conflict", err)
	}
	given := got
	given.Holder = ""
	given, err = store.Put(t.Context(), given)
	if err != nil || given.Holder != "" {
		t.Errorf("giving it up: got %+v, %v", given, err)
	}
	if _, err := store.Put(t.Context(), got); !fault.Is(err, fault.Conflict) {
		t.Errorf("Put of an older version: got %v, want a conflict", err)
	}
}
