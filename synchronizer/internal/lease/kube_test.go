package lease_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/lease"
)

func TestKube(t *testing.T) {
	t.Parallel()
	client := kubetest.Client(t, kubetest.Config(t))
	namespace := kubetest.Namespace(t, client)
	store := lease.NewKube(client, namespace, "synchronizer")
	none, err := store.Get(t.Context())
	if err != nil || none != (lease.Record{}) {
		t.Fatalf("Get of none: got %+v, %v", none, err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	want := lease.Record{Holder: "a", Term: 1, Duration: 15 * time.Second, Shards: 3, Acquired: at, Renewed: at.Add(time.Second)}
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

func TestALeaseThatSaysNothingHasOneShard(t *testing.T) {
	t.Parallel()
	client := kubetest.Client(t, kubetest.Config(t))
	namespace := kubetest.Namespace(t, client)
	for name, tc := range map[string]struct {
		annotations map[string]any
		want        int
	}{
		"old": {want: 1}, "odd": {annotations: map[string]any{"tandem.dev/shards": "many"}, want: 0},
	} {
		made := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
			"metadata": map[string]any{"name": name, "annotations": tc.annotations},
			"spec":     map[string]any{"holderIdentity": "a", "leaseDurationSeconds": int64(15)},
		}}
		if _, err := client.Resource(lease.Resource).Namespace(namespace).Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		got, err := lease.NewKube(client, namespace, name).Get(t.Context())
		if err != nil || got.Holder != "a" || got.Shards != tc.want {
			t.Errorf("%s: got %+v, %v; want %d shards", name, got, err, tc.want)
		}
	}
}
