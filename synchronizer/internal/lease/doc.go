// Package lease lets one of several replicas work, by a Lease of the cluster.
//
// A replica that holds the Lease says so again every tenth of its duration, and stops to work when it could not for two
// thirds of it. Another takes over when it has seen no sign of life for the whole duration, as its own clock measures it:
// what others' clocks show does not matter. So there is a third of the duration between the last write of one replica and
// the first of the next.
//
// That a replica stops is not left to its tasks alone, which may be suspended in the middle of anything, as the whole
// process may. A Fence lies around the connections on which it writes: when the time is up they take no byte more, and are
// reset, so that nothing goes out that was on its way.
//
// A replica that ends in good order lets its tasks end first and then gives the Lease up, so that another takes over at
// once.
package lease
