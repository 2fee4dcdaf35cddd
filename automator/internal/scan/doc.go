// Package scan decides when each image repository is looked at next, and remembers what was seen there.
//
// A look lists the tags of one repository. It comes every interval, give or take a tenth; sooner when somebody hints that
// something is new; later when the registry asks for a pause or does not answer. A hint about one tag costs one HEAD
// request and no list, goes past everything that waits for its turn, and is never more than a hint: what is remembered is
// what the registry answered.
//
// What is remembered only grows, but for a list that the registry called complete: a tag that such a list lacks is kept
// and marked as vanished, with what is known of it. So a registry that loses tags, cuts lists or fails half way makes
// nobody choose an older tag, and the cache carries all of it over a restart.
//
// The loop:
//
//  1. A repository that is new is loaded from the cache.
//  2. Hints that are due are asked, at most one at a time for a tag; a hint that comes meanwhile is asked once more after.
//  3. Looks that are due are made, the most overdue first, a bounded number at a time and of those a part at a host.
//  4. What changed is announced, then written to the cache. Looks that found nothing are written together, four times a minute.
//  5. The next time is set: interval, backoff, or the end of the pause of the host.
package scan
