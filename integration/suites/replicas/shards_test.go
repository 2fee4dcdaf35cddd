package replicas_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/kubecluster"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/shard"
)

const (
	// syncs are many enough that every shard has some, and eachHas are the objects of each.
	syncs, eachHas = 40, 3
	// shardLease is short: these stories wait for Leases to run out, and their machine does little else.
	shardLease = 5 * time.Second
)

func TestShards(t *testing.T) {
	g := ground(t)
	t.Run("killed", func(t *testing.T) { workerKilled(t, g) })
	t.Run("divided", func(t *testing.T) { dividedAnew(t, g) })
}

// divided prepares a world whose Syncs are divided among replicas of these names, and its Git.
func divided(t *testing.T, g *env.Ground, name string, shards int, names ...string) (w *world, replicas []*env.Agent, seed string) {
	t.Helper()
	w = newWorld(t, g, env.Options{Name: name, Lease: shardLease, Shards: shards})
	replicas = []*env.Agent{w.site().Synchronizer}
	for _, replica := range names {
		replicas = append(replicas, w.replica(replica))
	}
	w.commit("Grants", grants())
	return w, replicas, w.commit("Seed", apps("one"))
}

func (w *world) replica(name string) *env.Agent {
	w.t.Helper()
	agent, err := w.site().AddReplica(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return agent
}

func app(i int) string { return fmt.Sprintf("app-%02d", i) }

// apps are the files of all Syncs, with a value.
func apps(value string) map[string]string {
	files := map[string]string{}
	for i := range syncs {
		maps.Copy(files, configMaps(app(i), value, eachHas))
	}
	return files
}

// allHealthy waits until the automator shows every Sync healthy at a commit.
func (w *world) allHealthy(commit string) {
	w.t.Helper()
	for i := range syncs {
		w.healthyAt(app(i), commit)
	}
}

// shardHolders are who holds the Leases, by shard; empty where nobody does.
func (w *world) shardHolders(ctx context.Context) (holders []string, err error) {
	for _, name := range env.LeaseNames() {
		lease, getErr := w.Client.CoordinationV1().Leases(w.site().Namespace).Get(ctx, name, metav1.GetOptions{})
		holder := ""
		if getErr == nil && lease.Spec.HolderIdentity != nil {
			holder = *lease.Spec.HolderIdentity
		}
		holders = append(holders, holder)
	}
	return holders, ctx.Err()
}

// working waits until each shard has a holder among some, and no other shard has one. It returns them.
func (w *world) working(shards int, among ...string) (holders []string) {
	w.t.Helper()
	w.until(fmt.Sprintf("%d shards are held by some of %v", shards, among), func(ctx context.Context) (err error) {
		if holders, err = w.shardHolders(ctx); err != nil {
			return err
		}
		for index, holder := range holders {
			if index < shards != slices.Contains(among, holder) || index >= shards && holder != "" {
				return fmt.Errorf("%w: %q", errNotYet, holders)
			}
		}
		return nil
	})
	return holders[:shards]
}

// bySync are the writes to each Sync and its objects since a time, in order.
func (w *world) bySync(since time.Time) map[string][]kubecluster.Request {
	w.t.Helper()
	writes := map[string][]kubecluster.Request{}
	for _, r := range w.writes() {
		name := r.Name
		if r.Resource == "configmaps" && len(name) > len("-0000") {
			name = name[:len(name)-len("-0000")]
		}
		if strings.HasPrefix(name, "app-") && !r.At.Before(since) && r.User != "" {
			writes[name] = append(writes[name], r)
		}
	}
	for _, of := range writes {
		slices.SortStableFunc(of, func(a, b kubecluster.Request) int { return a.At.Compare(b.At) })
	}
	return writes
}

// owners checks that since a time every Sync was written by one process, and that all of a shard were by the same. It returns
// whose credential each shard's is.
func (w *world) owners(since time.Time, shards int) []string {
	w.t.Helper()
	owners := make([]string, shards)
	writes := w.bySync(since)
	for i := range syncs {
		index := shard.Of(w.site().Namespace, app(i), shards)
		if len(writes[app(i)]) == 0 {
			w.t.Errorf("nobody wrote %s", app(i))
		}
		for _, r := range writes[app(i)] {
			if owners[index] == "" {
				owners[index] = r.Credential
			}
			if r.Credential == "" || r.Credential != owners[index] {
				w.t.Errorf("%s of shard %d was written by %q (%s %s); want %q, as all of the shard", app(i), index, r.Credential, r.Verb, r.Name, owners[index])
				break
			}
		}
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(owners))); len(distinct) != shards {
		w.t.Errorf("the shards were written by %q, want one process each", owners)
	}
	return owners
}

// steady watches the automator's Syncs until it is stopped, and fails when one goes that is not expected to.
func (w *world) steady(expected string) (stop func()) {
	w.t.Helper()
	client, err := w.Status()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	stream, err := client.WatchSyncs(ctx, &statusv1.WatchSyncsRequest{Filter: &statusv1.SyncFilter{Cluster: home}})
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			change, err := stream.Recv()
			if err != nil {
				if ctx.Err() == nil {
					w.t.Errorf("the watch of the automator's Syncs ended: %v", err)
				}
				return
			}
			if gone := change.GetRemoved(); gone != nil && gone.GetName() != expected {
				w.t.Errorf("the automator shows %s no more", gone.GetName())
			}
		}
	})
	return func() { cancel(); watching.Wait() }
}

// acrossShards are two Syncs of different shards.
func (w *world) acrossShards(shards int) (back, front string) {
	w.t.Helper()
	back = app(0)
	for i := 1; i < syncs; i++ {
		if shard.Of(w.site().Namespace, app(i), shards) != shard.Of(w.site().Namespace, back, shards) {
			return back, app(i)
		}
	}
	w.t.Fatal("all Syncs are of one shard")
	return "", ""
}

// workerKilled divides the Syncs between two of three replicas, kills one that works, and removes a Sync.
func workerKilled(t *testing.T, g *env.Ground) {
	w, replicas, seed := divided(t, g, "shards", 2, "second", "third")
	byName := map[string]*env.Agent{home: replicas[0], "second": replicas[1], "third": replicas[2]}
	w.start(append(replicas, w.Automator)...)
	since := time.Now()
	back, front := w.acrossShards(2)
	for i := range syncs {
		if app(i) != front {
			w.sync(app(i))
		}
	}
	w.dependent(front, back)
	w.allHealthy(seed)
	before := w.working(2, home, "second", "third")
	owners := w.owners(since, 2)
	w.ordered(since, back, front)
	stop := w.steady("")

	since = time.Now()
	byName[before[1]].Kill()
	commit := w.commit("Change all", apps("two"))
	w.allHealthy(commit)
	after := w.working(2, slices.DeleteFunc([]string{home, "second", "third"}, func(name string) bool { return name == before[1] })...)
	if after[0] != before[0] {
		t.Errorf("shard 0 went from %s to %s, though only the other's replica was killed", before[0], after[0])
	}
	now := w.owners(since, 2)
	if now[0] != owners[0] || now[1] == owners[1] {
		t.Errorf("writers of the shards: %q before and %q after that of the second was killed", owners, now)
	}
	w.ordered(since, back, front)
	metrics, err := byName[after[1]].Get(t.Context(), "/metrics")
	if err != nil || !strings.Contains(string(metrics), `tandem_synchronizer_shard{shard="1",shards="2"} 1`) {
		t.Errorf("the replica that took over does not say for which shard it works: %v", err)
	}
	stop()

	stop = w.steady(app(syncs - 1))
	if err := w.remove(app(syncs - 1)); err != nil {
		t.Fatal(err)
	}
	w.until("the automator shows the removed Sync no more, and all others", func(ctx context.Context) error {
		shown, err := w.shown(ctx)
		if err == nil && (len(shown) != syncs-1 || slices.Contains(shown, app(syncs-1))) {
			err = fmt.Errorf("%w: %v", errNotYet, shown)
		}
		return err
	})
	stop()
}

// dependent makes a Sync that depends on another.
func (w *world) dependent(name, on string) {
	w.t.Helper()
	manifest := fmt.Sprintf("apiVersion: tandem.dev/v1alpha1\nkind: Sync\nmetadata: {name: %s}\nspec:\n  source: {repository: %s, ref: refs/heads/main}\n  path: env/%s\n  dependsOn: [{name: %s}]\n",
		name, env.Repository, name, on)
	if err := w.site().Apply(w.t.Context(), manifest); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(name string) error {
	resource := schema.GroupVersionResource{Group: "tandem.dev", Version: "v1alpha1", Resource: "syncs"}
	return w.Dynamic.Resource(resource).Namespace(w.site().Namespace).Delete(w.t.Context(), name, metav1.DeleteOptions{})
}

// shown are the Syncs that the automator shows.
func (w *world) shown(ctx context.Context) (names []string, err error) {
	client, err := w.Status()
	if err != nil {
		return nil, err
	}
	answer, err := client.ListSyncs(ctx, &statusv1.ListSyncsRequest{Filter: &statusv1.SyncFilter{Cluster: home}, PageSize: 1000})
	for _, s := range answer.GetSyncs() {
		names = append(names, s.GetName())
	}
	return names, err
}

// ordered checks that since a time nothing of the second Sync was applied before everything of the first was.
func (w *world) ordered(since time.Time, first, second string) {
	w.t.Helper()
	objects := func(name string) (applied []time.Time) {
		for _, r := range w.bySync(since)[name] {
			if r.Resource == "configmaps" {
				applied = append(applied, r.At)
			}
		}
		return applied
	}
	before, after := objects(first), objects(second)
	if len(before) < eachHas || len(after) < eachHas {
		w.t.Fatalf("%d objects of %s and %d of %s were applied, want %d of each", len(before), first, len(after), second, eachHas)
	}
	if after[0].Before(before[eachHas-1]) {
		w.t.Errorf("an object of %s was applied at %v, before the last of %s at %v", second, after[0], first, before[eachHas-1])
	}
}

// dividedAnew goes from two shards to three, with replicas of both numbers running.
func dividedAnew(t *testing.T, g *env.Ground) {
	w, old, seed := divided(t, g, "divided", 2, "old")
	w.start(append(old, w.Automator)...)
	for i := range syncs {
		w.sync(app(i))
	}
	w.allHealthy(seed)
	w.working(2, home, "old")
	writers := w.credentials(time.Time{})
	stop := w.steady("")

	fresh := []string{"new-a", "new-b", "new-c"}
	for _, name := range fresh {
		agent := w.replica(name)
		config, err := os.ReadFile(agent.Config())
		if err != nil {
			t.Fatal(err)
		}
		more := strings.Replace(string(config), "shards: 2", "shards: 3", 1)
		if more == string(config) {
			t.Fatalf("no number of shards in %s", config)
		}
		if err := os.WriteFile(agent.Config(), []byte(more), 0o600); err != nil {
			t.Fatal(err)
		}
		w.start(agent)
	}
	w.allHealthy(w.commit("Change all beside new replicas", apps("two")))
	w.working(2, home, "old")
	if err := old[0].Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.commit("Change all with one of the old", apps("three"))
	old[1].Kill()
	w.working(3, fresh...)
	since := time.Now()
	w.allHealthy(w.commit("Change all by the new", apps("four")))
	w.owners(since, 3)
	stop()
	w.neverBoth(writers)
}

// credentials are who wrote to Syncs and their objects since a time.
func (w *world) credentials(since time.Time) map[string]bool {
	found := map[string]bool{}
	for _, of := range w.bySync(since) {
		for _, r := range of {
			found[r.Credential] = true
		}
	}
	return found
}

// neverBoth checks that nobody else wrote before the last write of some.
func (w *world) neverBoth(some map[string]bool) {
	w.t.Helper()
	var last, first time.Time
	for _, of := range w.bySync(time.Time{}) {
		for _, r := range of {
			switch {
			case some[r.Credential] && r.At.After(last):
				last = r.At
			case !some[r.Credential] && (first.IsZero() || r.At.Before(first)):
				first = r.At
			}
		}
	}
	if len(some) != 2 || first.IsZero() || !last.Before(first) {
		w.t.Errorf("the %d replicas of the old number wrote until %v, those of the new from %v on; want one after the other", len(some), last, first)
	}
	w.t.Logf("the last write of the old was %s before the first of the new", first.Sub(last))
}
