package converge

import "github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"

// owe has the status written once there is nothing more important to do.
func (p *pass) owe() {
	l := p.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[p.key]; e != nil && !e.owes {
		e.owes = true
		l.owing = append(l.owing, p.key)
	}
}

// calm has one of the statuses written that are owed, unless Syncs wait for a worker. Every pass that ends has another one
// written, so that never many are in the way of what comes next.
func (l *Loop) calm() {
	if l.crowded() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.owing) > 0 {
		key := l.owing[0]
		l.owing = l.owing[1:]
		if e := l.entries[key]; e != nil && e.owes {
			e.owes, e.settles = false, true
			l.queue.Add(key)
			return
		}
	}
}

// yields reports whether the status may wait for other Syncs that want a worker.
func (p *pass) yields() bool {
	if p.settles || !p.loop.crowded() {
		return false
	}
	return p.work.status.State == v1alpha1.StateInProgress || !p.loop.isShared() // for what is healthy other replicas' Syncs may wait
}
