// Package enroll gives clusters their identity and keeps it: tokens that are redeemed once, certificates that live for a
// day, renewal, revocation, and the rotation of the authority that signs them.
//
// The authority's key is a file that the store never sees. A certificate says whom it is for and when it was issued, so an
// automator that has lost its store still knows every cluster; what it no longer knows is whom somebody revoked.
//
//	tandem cluster enroll ─▶ token ─▶ Enroll ─▶ certificate ─▶ Renew ─▶ certificate ─▶ …
//	                                                │
//	every call ─▶ Identify (certificate or pass) ─▶ Admit (revoked?) ─▶ the service
//
// Being enrolled grants nothing: grants are in Git.
package enroll
