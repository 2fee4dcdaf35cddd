// Package update is the loop that writes a branch: the only one in the process, and the only writer of ours that the
// branch has.
//
// It is level-triggered. A wake says that something may have changed (a candidate, the branch, what clusters report) and
// nothing more; every pass looks at all of it again, so that what was missed, or happened while the process was dead, is
// found by the next pass. Git alone carries the state: the content says what runs, and the trailers of our commits say
// which values were ours. A process that is killed at any point needs nothing else to go on.
//
// A pass:
//
//  1. After a push that did not end well, the branch is fetched before anything else. Whether the push was taken after all
//     is then seen like every other commit, so that nothing is ever written twice.
//  2. The pipelines and the environments' images are read from the branch's tip, candidates are taken from what registries
//     have, and pipeline.Decide says what to write and why nothing else.
//  3. The edits become one commit on the tip: all that is waiting now. What arrives while it is pushed is the next one.
//  4. The push names the tip it was made from. If the branch moved, the pass begins anew from the new tip, with everything
//     that was true before looked at again; if the host refuses, its reason is shown and the push is tried again later,
//     until nothing needs it any more.
//
// Problems of one file, image or environment keep no other from going on.
package update
