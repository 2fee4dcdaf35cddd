// Package live knows the objects that Syncs own, from watches.
//
// A Store watches the kinds that Syncs need: one watch per kind and namespace,
// shared among the Syncs, of objects that carry a Sync's label. Each object is
// reduced to a Record as it arrives, during the first list too, so memory
// follows the number of managed objects and not their size.
//
//	store := live.New(live.Config{Changed: wake}, client, live.NewMapper(discovery))
//	go store.Run(ctx) // as a task of the process
//	store.Need("shop.web", kinds)
//	record, ok := store.Get(key)
//
// What a watch knows and what we have just written meet in the records: Observe
// puts the answer to our own write in, an older event never undoes it, and
// where the watch has come further than the write, the watch is right.
//
// Pods are looked at while a Sync has workloads, for the images that run. They
// carry no label of ours; whose a pod is follows from its owner.
//
// A Mapper says under which resource a kind is served.
package live
