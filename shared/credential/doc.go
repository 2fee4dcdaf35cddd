// Package credential holds what both agents need to agree on about identities: keys, certificate requests, the token
// that a cluster enrolls with, and the pass that stands in for a certificate where a proxy ends TLS.
//
// It is pure: whoever calls brings the time. Everything that is parsed here comes from strangers, so every input has a
// named limit and every format one canonical form.
package credential
