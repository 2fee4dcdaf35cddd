// Package enroll keeps this cluster's identity: it makes the key, redeems the token for a certificate, and renews that
// before it runs out, on the connection that is open, without cutting anything.
//
//	no key ─▶ key kept ─▶ token redeemed ─▶ certificate kept ─▶ half of its life ─▶ renewed ─▶ …
//	                                              ▲                                    │
//	                          a new token ────────┴───── refused (revoked, too late) ◀─┘
//
// The key is kept before the token is sent, so that a crash or a lost answer is repeated with the same key and not with a
// token that is used up.
package enroll
