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
	return slices.Collect(maps.Keys(all))
}

// kinds returns, sorted, what the Sync may own: what its status lists, what Git asks for, and what a former process made
// that was killed before it listed the kind.
func (p *pass) kinds() []v1alpha1.ObjectKind {
	kinds := slices.Clone(p.work.status.Kinds)
	add := func(kind v1alpha1.ObjectKind) {
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	for i := range p.work.rendered.Objects {
		add(kindOf(&p.work.rendered.Objects[i]))
	}
	for _, r := range p.loop.deps.Live.Owned(p.sync.Label()) {
		if r.Owned() && !slices.ContainsFunc(kinds, func(k v1alpha1.ObjectKind) bool { return k.Group == r.GVK.Group && k.Kind == r.GVK.Kind }) {
			add(v1alpha1.ObjectKind{Group: r.GVK.Group, Version: r.GVK.Version, Kind: r.GVK.Kind, Namespaced: r.Key.Namespace != ""})
		}
	}
	slices.SortFunc(kinds, func(a, b v1alpha1.ObjectKind) int {
		return strings.Compare(a.Group+"/"+a.Version+"/"+a.Kind, b.Group+"/"+b.Version+"/"+b.Kind)
	})
	return kinds
}
