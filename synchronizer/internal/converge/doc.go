// Package converge is the loop that makes a cluster what Git says.
//
// Each Sync goes through the same pass whenever something about it changed: its resource, what arrived for it, an object
// that it owns, or a retry that is due. A pass is
//
//  1. receive: the newest delivery of the Sync's source becomes the commit to reach;
//  2. verify: the chain from the last verified commit is checked; a refusal stops before the refused commit;
//  3. render: the tree of the verified commit becomes objects, again only when its content changed;
//  4. plan: desired, live and owned objects become steps;
//  5. apply: the steps are taken, as the Sync's service account;
//  6. observe: the watched objects' health becomes the Sync's;
//  7. publish: status, Kubernetes Events and lifecycle events say what happened.
//
// Passes of one Sync never overlap; passes of different Syncs run side by side and share nothing. Waiting for health
// holds no worker: the watch wakes the Sync; nor does waiting for the API server while steps are taken. Namespaces take
// turns, first applies leave room for changes, and requests are shared between Syncs (package fair). A pass that finds
// nothing to do sends no request.
//
// After a kill at any point the next process continues from the Sync's status and inventory. What was applied and not
// recorded is applied once more, which changes nothing; events have ids that do not depend on the process.
package converge
