// Package apply executes the steps of a plan by server-side apply, as the
// service account of the Sync.
//
// # One request per object
//
// A changed object costs one request: the whole desired object under our field
// manager, by force, with the label and the owner annotation added. The answer
// is the new baseline, so nothing is read before or after.
//
// Taking what belongs to another Sync must not happen, and all Syncs write with
// the same field manager, so the API server sees no conflict between them. What
// the watches know is decided in the plan. What they cannot know, an object that
// carries no label or came a moment ago, is caught without a request of its own:
// an object that is not known to exist is applied with resourceVersion 1, which
// no object ever has. The API server creates the object if there is none, since
// there is no version to compare with, and answers with a conflict otherwise.
// Only then the object is read, and either refused, since another Sync owns it,
// or adopted at exactly the version that was read. So a new object costs 1.00
// requests, an adopted one three, and two Syncs that want the same object at the
// same moment cannot both get it.
//
// # Unknown fields
//
// fieldValidation is Strict. Server-side apply refuses unknown fields of built-in
// kinds anyway; Strict makes custom resources behave the same, where Warn would
// drop the field and report success for something that Git asked for and the
// cluster did not do.
//
// # Stages
//
// Steps of one stage run side by side, the next stage begins when all have an
// answer. A failure keeps nothing back but what cannot work: objects in a
// namespace, or of a kind, whose own step failed. When the context ends no
// further object is begun, and those that were begun get their answer.
package apply
