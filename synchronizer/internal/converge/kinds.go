package converge

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// kindBook knows which kinds the statuses of Syncs list as the API server has them. These are the kinds that the next
// process watches, and so finds every Sync's objects of, whichever Sync it was that listed them.
type kindBook struct {
	mu     sync.Mutex
	listed map[v1alpha1.ObjectKind]int // by how many Syncs
}

// replace takes note that a Sync's status lists other kinds than before.
func (b *kindBook) replace(before, now []v1alpha1.ObjectKind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, kind := range now {
		b.listed[kind]++
	}
	for _, kind := range before {
		if b.listed[kind]--; b.listed[kind] <= 0 {
			delete(b.listed, kind)
		}
	}
}

// has reports whether all of the kinds are listed.
func (b *kindBook) has(kinds []v1alpha1.ObjectKind) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !slices.ContainsFunc(kinds, func(kind v1alpha1.ObjectKind) bool { return b.listed[kind] == 0 })
}

// containsAll reports whether a list has all of some kinds.
func containsAll(list, kinds []v1alpha1.ObjectKind) bool {
	return !slices.ContainsFunc(kinds, func(kind v1alpha1.ObjectKind) bool { return !slices.Contains(list, kind) })
}

// others reports whether another Sync's status lists a kind that this one's does.
func (b *kindBook) others(kind v1alpha1.ObjectKind) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.listed[kind] > 1
}

// everyKind returns the kinds that the statuses of all Syncs list, and some more.
func (l *Loop) everyKind(more []v1alpha1.ObjectKind) []v1alpha1.ObjectKind {
	all := map[v1alpha1.ObjectKind]bool{}
	add := func(kinds []v1alpha1.ObjectKind) {
		for _, kind := range kinds {
			all[kind] = true
		}
	}
	add(more)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.sync != nil {
			add(e.sync.Status.Kinds)
		}
	}
	for _, f := range l.elsewhere.syncs { // one of ours may have been theirs, when there was another number of shards
		add(f.sync.Status.Kinds)
	}
	return slices.Collect(maps.Keys(all))
}

// kinds returns, sorted, what the Sync may own: what its status lists, what Git asks for, and what a former process made
// that was killed before it listed the kind.
func (p *pass) kinds() []v1alpha1.ObjectKind {
	kinds := p.wantedKinds(slices.Clone(p.work.status.Kinds))
	for _, owned := range p.loop.deps.Live.OwnedKinds(p.sync.Label()) {
		if !slices.ContainsFunc(kinds, func(k v1alpha1.ObjectKind) bool { return k.Group == owned.Group && k.Kind == owned.Kind }) {
			kinds = append(kinds, owned)
		}
	}
	slices.SortFunc(kinds, func(a, b v1alpha1.ObjectKind) int {
		return strings.Compare(a.Group+"/"+a.Version+"/"+a.Kind, b.Group+"/"+b.Version+"/"+b.Kind)
	})
	return kinds
}

// wantedKinds returns kinds and, behind them, what Git asks for besides.
func (p *pass) wantedKinds(kinds []v1alpha1.ObjectKind) []v1alpha1.ObjectKind {
	for i := range p.work.rendered.Objects {
		if kind := kindOf(&p.work.rendered.Objects[i]); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// dropKinds takes out of the status the kinds that Git asks for no more and of which nothing is left. One that no other
// Sync lists stays while any object of it carries a Sync's label: that may be of a Sync whose status does not list it yet.
func (p *pass) dropKinds() {
	w, l := p.work, p.loop
	if !p.isApplied() || len(w.refused)+w.failing()+w.rendered.Unknown > 0 {
		return
	}
	wanted := p.wantedKinds(nil)
	if len(wanted) == len(w.status.Kinds) {
		return
	}
	used := slices.Concat(wanted, l.deps.Live.OwnedKinds(p.sync.Label()))
	recorded := map[v1alpha1.ObjectKind]bool{}
	for key := range w.inventory {
		recorded[v1alpha1.ObjectKind{Group: key.Group, Kind: key.Kind}] = true
	}
	w.status.Kinds = slices.DeleteFunc(slices.Clone(w.status.Kinds), func(k v1alpha1.ObjectKind) bool {
		return !slices.Contains(used, k) && !recorded[v1alpha1.ObjectKind{Group: k.Group, Kind: k.Kind}] && (l.kinds.others(k) || !l.deps.Live.Labelled(k))
	})
}
