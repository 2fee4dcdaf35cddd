// Package fair shares what is scarce, so that nobody waits long for somebody who needs much of it or never ends.
//
// A Limiter shares slots, such as requests that are in flight; Lanes let works run side by side, such as Syncs that are
// applied; an Order is the storage of a queue. Each knows flows, such as Syncs, namespaces or clusters, and serves them in turn.
//
// None of them knows a clock or starts a goroutine.
package fair
