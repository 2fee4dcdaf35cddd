// Package drift says what somebody changed in an object and who it was, and when a heal that is undone is worth another try.
//
// Pure. What differs, and who made it so, is read from two states of the object: as it was found, and as our own apply leaves
// it. Both name for every field the manager that owns it.
//
// Values of Secrets are never told, nor those of environment variables and of fields whose names speak of passwords and the
// like, nor values that are long or have several lines: people look at those themselves.
package drift
