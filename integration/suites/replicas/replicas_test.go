// Package replicas_test runs several synchronizers of one cluster.
package replicas_test

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/kubecluster"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

// other is the second replica.
const other = "second"

// pair starts two replicas, of which the first works, with a Sync of many objects.
func pair(t *testing.T, g *env.Ground, name string) (w *world, first, second *env.Agent) {
	t.Helper()
	w = newWorld(t, g, env.Options{Name: name, Lease: leaseFor})
	second, err := w.site().AddReplica(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	first = w.site().Synchronizer
	w.commit("Grants", grants())
	seed := w.commit("Seed", configMaps("huge", "one", many))
	w.start(w.Automator, first)
	w.held(home)
	w.start(second)
	w.sync("huge")
	w.healthyAt("huge", seed)
	return w, first, second
}

// alone checks that two processes wrote one after the other: never the first again after the second began.
func (w *world) alone(since time.Time) {
	w.t.Helper()
	var order []string
	var last kubecluster.Request
	writes := slices.DeleteFunc(w.writes(), func(r kubecluster.Request) bool { return r.At.Before(since) })
	slices.SortStableFunc(writes, func(a, b kubecluster.Request) int { return a.At.Compare(b.At) })
	for _, r := range writes {
		if r.Credential == "" {
			w.t.Fatalf("the audit log does not tell processes apart: %+v", r)
		}
		if len(order) == 0 || order[len(order)-1] != r.Credential {
			order = append(order, r.Credential)
			w.t.Logf("%s writes from %s on (%s %s); the one before until %s", r.Credential, r.At.Format(time.StampMicro), r.Verb, r.Name, last.At.Format(time.StampMicro))
		}
		last = r
	}
	if len(order) != 2 || order[0] == order[1] {
		w.t.Errorf("writers took turns in the order %v, want one after the other", order)
	}
}

// once checks that every step of a commit is in the event log once.
func (w *world) once(commit string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	filter := &statusv1.EventFilter{Commit: commit, SyncName: "huge"}
	_, err := w.WaitEvents(ctx, filter, func(events []*statusv1.Event) bool {
		return slices.ContainsFunc(events, func(e *statusv1.Event) bool { return e.GetState() == statusv1.EventState_EVENT_STATE_HEALTHY })
	})
	if err != nil {
		w.t.Fatal(err)
	}
	events, err := w.Events(ctx, filter)
	if err != nil {
		w.t.Fatal(err)
	}
	count := map[statusv1.EventState]int{}
	for _, e := range events {
		count[e.GetState()]++
	}
	for _, state := range []statusv1.EventState{
		statusv1.EventState_EVENT_STATE_RECEIVED, statusv1.EventState_EVENT_STATE_VERIFIED,
		statusv1.EventState_EVENT_STATE_APPLIED, statusv1.EventState_EVENT_STATE_HEALTHY,
	} {
		if count[state] != 1 {
			w.t.Errorf("%s is in the log %d times, want once", state, count[state])
		}
	}
}

func TestReplicas(t *testing.T) {
	g := ground(t)
	t.Run("killed", func(t *testing.T) { killed(t, g) })
	t.Run("paused", func(t *testing.T) { paused(t, g) })
	t.Run("stopped", func(t *testing.T) { stopped(t, g) })
}

// killed kills the replica that works in the middle of an apply.
func killed(t *testing.T, g *env.Ground) {
	w, first, _ := pair(t, g, "killed")
	since := time.Now()
	commit := w.commit("Change all", configMaps("huge", "two", many))
	w.applied("huge-", many+many/10)
	first.Kill()
	w.held(other)
	w.healthyAt("huge", commit)
	w.once(commit)
	w.alone(since)
}

// paused suspends the replica that works in the middle of an apply, for longer than its Lease, and lets it go on.
func paused(t *testing.T, g *env.Ground) {
	w, first, _ := pair(t, g, "paused")
	since := time.Now()
	commit := w.commit("Change all", configMaps("huge", "two", many))
	w.applied("huge-", many+many/10)
	if err := syscall.Kill(first.ID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.held(other)
	w.healthyAt("huge", commit)
	if err := syscall.Kill(first.ID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.until("the replica that lost its Lease ends", func(context.Context) error {
		if first.Runs() {
			return errNotYet
		}
		return nil
	})
	first.Kill() // it has ended
	w.start(first)
	const file = "env/huge/0000.yaml"
	next := w.commit("Change one", map[string]string{file: strings.Replace(configMaps("huge", "two", many)[file], `"two"`, `"three"`, 1)})
	w.healthyAt("huge", next)
	w.once(commit)
	w.alone(since)
}

// stopped stops the replica that works in good order: the Lease is free at once, and what comes afterwards is applied.
func stopped(t *testing.T, g *env.Ground) {
	w, first, second := pair(t, g, "stopped")
	since := time.Now()
	w.commit("Change all", configMaps("huge", "two", many))
	w.applied("huge-", many+many/10)
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	holder, err := w.holder(t.Context())
	if err != nil || holder == home {
		t.Fatalf("after the stop the Lease is held by %q, %v", holder, err)
	}
	w.held(other)
	metrics, err := second.Get(t.Context(), "/metrics")
	if err != nil || !strings.Contains(string(metrics), "tandem_synchronizer_leader 1") {
		t.Errorf("the second replica does not say that it works: %v", err)
	}
	w.start(first)
	metrics, err = first.Get(t.Context(), "/metrics")
	if err != nil || !strings.Contains(string(metrics), "tandem_synchronizer_leader 0") {
		t.Errorf("the first replica does not say that it stands by: %v", err)
	}
	if _, err := w.site().WaitSync(t.Context(), "huge", func(*statusv1.Sync) bool { return true }); err != nil {
		t.Errorf("the replica that stands by shows no Sync: %v", err)
	}
	commit := w.commit("Change all again", configMaps("huge", "three", many))
	w.healthyAt("huge", commit)
	w.once(commit)
	w.alone(since)
	w.doctor(first, other+" holds the lease")
	for _, replica := range []*env.Agent{first, second} {
		if err := replica.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.doctor(first, "nobody holds the lease")
}

// doctor checks what the doctor of a replica finds about the leader.
func (w *world) doctor(replica *env.Agent, want string) {
	w.t.Helper()
	out, err := exec.CommandContext(w.t.Context(), w.Program("tandem-synchronizer"), "doctor", "--config", replica.Config()).CombinedOutput()
	if !strings.Contains(string(out), want) {
		w.t.Errorf("the doctor (%v) does not find that %s:\n%s", err, want, out)
	}
}
