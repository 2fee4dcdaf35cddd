// Package policy chooses the tag an image should have, and says why not another.
//
// It is pure: a policy, the tags of a repository and the tag in Git go in, a
// selection and verdicts come out. The same input always gives the same output,
// whatever the order of the tags.
//
//	p, err := policy.New(policy.Config{Semver: ">=1.0.0 <2.0.0", Deny: []string{"-rc"}})
//	selection, verdicts := policy.Select(p, policy.Input{Tags: tags, Current: policy.Tag{Name: "1.4.2"}, Now: now})
//
// # Orders
//
//	semver   by version; the highest in the range. The default, with every version in range
//	newest   by time: created is what the image says of itself, pushed is when its tag was seen first
//	numeric  by decimal number of any length; asc takes the highest, desc the lowest
//	lexical  by bytes; asc takes the last, desc the first
//	calver   by the numbers of a format, from left to right, the date among them by year, month or week, and day
//	follow   one tag, wherever it points to
//	pin      one tag, older or not
//
// What is ordered is the tag, or what match and extract cut out of it. Two tags of the same place: the one with more
// numbers goes first, then the one with a v if the current tag has one and without if not, then the higher name, digits
// compared as numbers. So every order is total, and a tag that is malformed changes nothing about the others.
//
// A least age counts from when the tag was first seen to point where it does, never from what the image says. What only
// the image says (its time, its platforms) is asked for by name: see [Selection].
//
// # How a tag is read
//
//	v1.27.3-rc.1-alpine3.20_build7
//	│└──┬─┘ └─┬┘ └───┬────┘ └─┬──┘
//	│ numbers │   variant   build, no part of the order
//	│         pre-release
//	v or not, no part of the order
//
// A pre-release starts with a number or a word that is used for one (alpha, beta,
// rc, dev, ...). Everything else behind the numbers is a variant: another image
// under the same version. A tag is replaced by one of the same variant and with as
// many numbers as it has itself: 1.27-alpine by 1.28-alpine, never by 1.28, and
// never by 1.28.1-alpine, which does not move the way 1.27-alpine does.
//
// # What is never chosen
//
// Unless a policy says downgrade: a version lower than the one in Git, even if that one vanished from the
// registry. Signatures and attestations (sha256-...). A pre-release, unless the
// range names one. Tags that are no versions; they do not disturb the others.
package policy
