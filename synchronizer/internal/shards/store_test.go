package shards_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/shards"
)

var errBoom = errors.New("boom")

type world struct {
	t      *testing.T
	client dynamic.Interface
	store  *shards.Store
	sync   *v1alpha1.Sync
	// refuses says whether the next write is refused; nil when none is.
	refuses func() bool
}

// trip sends a request, unless it is a write that is to be refused.
type trip func(*http.Request) (*http.Response, error)

func (t trip) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// newWorld is a store beside a real API server, and a Sync whose place a ConfigMap takes: it only has to own something.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, sync: &v1alpha1.Sync{}}
	config := kubetest.Config(t)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return trip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPatch && w.refuses != nil && w.refuses() {
				return nil, errBoom
			}
			return next.RoundTrip(r)
		})
	})
	w.client = kubetest.Client(t, config)
	w.sync.Namespace, w.sync.Name, w.sync.UID = kubetest.Namespace(t, w.client), "web", types.UID("11111111-2222-3333-4444-555555555555")
	w.restart()
	return w
}

// restart forgets what the store remembers.
func (w *world) restart() { w.store = shards.New(w.client, zap.NewNop()) }

// save saves so many records, and puts into the Sync's status where they are.
func (w *world) save(records int) map[object.Key]inventory.Entry {
	w.t.Helper()
	entries := map[object.Key]inventory.Entry{}
	for i := range records {
		key := object.Key{Kind: "ConfigMap", Namespace: w.sync.Namespace, Name: fmt.Sprintf("object-%04d", i)}
		entries[key] = inventory.Entry{Key: key, UID: types.UID(fmt.Sprint(i)), File: "a.yaml", Desired: sha256.Sum256([]byte{byte(i)}), Baseline: sha256.Sum256([]byte{byte(i >> 8), byte(i)})}
	}
	kept, err := w.store.Save(w.t.Context(), w.sync, entries)
	if err != nil {
		w.t.Fatal(err)
	}
	w.sync.Status.Inventory, w.sync.Status.Shards = kept.Inline, kept.Shards
	return entries
}

// configMaps counts the shards in the cluster.
func (w *world) configMaps() int {
	w.t.Helper()
	return len(w.versions())
}

func TestAnInventoryGrowsOutOfTheStatusAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, step := range []struct{ records, shards int }{{4, 0}, {300, 4}, {100, 1}, {0, 0}, {5000, 64}, {3, 0}} {
		want := w.save(step.records)
		if got := w.configMaps(); got != step.shards || w.sync.Status.Shards != step.shards || (len(w.sync.Status.Inventory) == 0) == (step.shards == 0) {
			t.Errorf("%d records: %d ConfigMaps, status says %d and has %d bytes itself; want %d", step.records, got, w.sync.Status.Shards, len(w.sync.Status.Inventory), step.shards)
		}
		w.restart()
		got, err := w.store.Load(t.Context(), w.sync)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%d records after a restart: -want, +got:\n%s", step.records, diff)
		}
	}
}

// versions are those of the shards, by name.
func (w *world) versions() map[string]string {
	w.t.Helper()
	list, err := w.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(w.sync.Namespace).List(
		w.t.Context(), metav1.ListOptions{LabelSelector: "tandem.dev/inventory"})
	if err != nil {
		w.t.Fatal(err)
	}
	versions := map[string]string{}
	for _, item := range list.Items {
		versions[item.GetName()] = item.GetResourceVersion()
	}
	return versions
}

func TestOnlyShardsThatDifferAreWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entries := w.save(1000)
	save := func() (written int) {
		t.Helper()
		before := w.versions()
		if _, err := w.store.Save(t.Context(), w.sync, entries); err != nil {
			t.Fatal(err)
		}
		for name, version := range w.versions() {
			if before[name] != version {
				written++
			}
		}
		return written
	}
	for i, restarts := range []bool{false, true} {
		if restarts {
			w.restart()
			if _, err := w.store.Load(t.Context(), w.sync); err != nil {
				t.Fatal(err)
			}
		}
		if written := save(); written != 0 {
			t.Errorf("restarted %v: %d shards written though nothing changed", restarts, written)
		}
		key := object.Key{Kind: "ConfigMap", Namespace: w.sync.Namespace, Name: "object-0007"}
		entry := entries[key]
		entry.Baseline[0] = byte(i)
		entries[key] = entry
		if written := save(); written != 1 {
			t.Errorf("restarted %v: %d shards written for one record", restarts, written)
		}
	}
}

// TestWhatWasWrittenBeforeAnErrorIsWrittenAgain has the API server refuse a shard in the middle of a save, and the inventory go
// back to what it was: what was written by then is not what the store had saved.
func TestWhatWasWrittenBeforeAnErrorIsWrittenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entries := w.save(1000)
	changed := maps.Clone(entries)
	for key, entry := range changed {
		entry.Baseline[0]++
		changed[key] = entry
	}
	allowed := 3
	w.refuses = func() bool { allowed--; return allowed < 0 }
	if _, err := w.store.Save(t.Context(), w.sync, changed); err == nil {
		t.Fatal("nothing was refused")
	}
	w.refuses = nil
	if _, err := w.store.Save(t.Context(), w.sync, entries); err != nil {
		t.Fatal(err)
	}
	w.restart()
	got, err := w.store.Load(t.Context(), w.sync)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entries, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func TestADamagedShardIsWrittenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entries := w.save(1000)
	configMaps := w.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(w.sync.Namespace)
	var damaged string
	for damaged = range w.versions() {
		break
	}
	if _, err := configMaps.Patch(t.Context(), damaged, types.MergePatchType, []byte(`{"binaryData":{"records.json.gz":"AAAA"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.restart()
	part, err := w.store.Load(t.Context(), w.sync)
	if err != nil || len(part) == 0 || len(part) == len(entries) {
		t.Fatalf("%d records of %d without one shard: %v", len(part), len(entries), err)
	}
	if _, err := w.store.Save(t.Context(), w.sync, entries); err != nil {
		t.Fatal(err)
	}
	w.restart()
	whole, err := w.store.Load(t.Context(), w.sync)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entries, whole); diff != "" {
		t.Errorf("after it was saved again: -want, +got:\n%s", diff)
	}
}

func TestADamagedInventoryCountsAsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.save(4)
	w.sync.Status.Inventory = w.sync.Status.Inventory[:20]
	got, err := w.store.Load(t.Context(), w.sync)
	if err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}
