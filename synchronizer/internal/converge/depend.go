package converge

import (
	"context"
	"errors"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// dependencies are the Syncs that a Sync names in dependsOn.
func dependencies(s *v1alpha1.Sync) []types.NamespacedName {
	keys := make([]types.NamespacedName, len(s.Spec.DependsOn))
	for i, d := range s.Spec.DependsOn {
		keys[i] = types.NamespacedName{Namespace: d.Namespace, Name: d.Name}
		if d.Namespace == "" {
			keys[i].Namespace = s.Namespace
		}
	}
	return keys
}

// mayDepend returns why a Sync may not depend on one that it names.
func (l *Loop) mayDepend(s *v1alpha1.Sync) error {
	for _, on := range dependencies(s) {
		if err := l.deps.DependOn(s.Namespace, on.Namespace); err != nil {
			return err
		}
	}
	return nil
}

// depend reports whether the Syncs that this one depends on let it go on. What is applied already waits for nobody, so that
// drift is healed whatever becomes of them.
func (p *pass) depend(ctx context.Context) bool {
	if len(p.sync.Spec.DependsOn) == 0 || p.isApplied() {
		return true
	}
	behind, why, err := p.unmet(ctx)
	if err != nil {
		p.work.problems.config = []v1alpha1.Problem{{Kind: v1alpha1.ProblemConfig, Message: sentence(err)}}
		return false
	}
	if behind == "" {
		p.loop.waited(p.key)
		return true
	}
	p.noteBehind(behind, why)
	return false
}

// waited takes note that a Sync waits for no other any more.
func (l *Loop) waited(key types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[key]; e != nil {
		e.waits = false
	}
}

// isApplied reports whether every object of the verified content was attempted.
func (p *pass) isApplied() bool {
	w := p.work
	return w.status.Applied != nil && w.status.Applied.ContentID == w.content.String()
}

// ready reports whether a Sync is healthy at the newest that arrived for it.
func (e *entry) ready() bool { return e.healthy && e.delivery == nil }

// reached notes how far a Sync has come, and wakes those that depend on it when it has become ready.
func (p *pass) reached() {
	l := p.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[p.key]
	if e == nil {
		return
	}
	l.show(e, p.sync)
	before := e.ready()
	// What was healthy before says nothing about content that has only been verified, as while a new kind is being listed.
	e.healthy = p.work.status.State == v1alpha1.StateHealthy && p.isApplied() ||
		p.work.status.State == v1alpha1.StateObserving && p.work.status.HealthySince != nil
	if before || !e.ready() {
		return
	}
	for key := range l.waiters[p.key] {
		l.queue.Add(key)
	}
}

// waiters are, by Sync, the Syncs that depend on it.
type waiters map[types.NamespacedName]map[types.NamespacedName]bool

// replace takes note that a Sync depends on others than before; nil is a Sync that is not there.
func (w waiters) replace(key types.NamespacedName, before, now *v1alpha1.Sync) {
	if before != nil {
		for _, on := range dependencies(before) {
			if delete(w[on], key); len(w[on]) == 0 {
				delete(w, on)
			}
		}
	}
	if now == nil {
		return
	}
	for _, on := range dependencies(now) {
		if w[on] == nil {
			w[on] = map[types.NamespacedName]bool{}
		}
		w[on][key] = true
	}
}

// circle returns an error that names the Syncs which depend on each other in a circle through this one; nil for none.
func (l *Loop) circle(s *v1alpha1.Sync) error {
	if len(s.Spec.DependsOn) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	start := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	seen := map[types.NamespacedName]bool{}
	var walk func(at *v1alpha1.Sync, way []string) []string
	walk = func(at *v1alpha1.Sync, way []string) []string {
		for _, next := range dependencies(at) {
			if next == start {
				return append(way, next.String())
			}
			at := l.known(next)
			if seen[next] || at == nil {
				continue
			}
			seen[next] = true
			if found := walk(at, append(slices.Clip(way), next.String())); found != nil {
				return found
			}
		}
		return nil
	}
	if way := walk(s, []string{start.String()}); way != nil {
		return errors.New("dependsOn goes in a circle: " + strings.Join(way, " → ") + "; take one of them out")
	}
	return nil
}
