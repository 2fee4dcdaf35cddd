// Package samesite tells whether two hosts belong to the same owner, as the public suffix list has it.
package samesite

import (
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Same reports whether two names of hosts are of one site, such as auth.docker.io and index.docker.io. Names below what is not
// in the list, such as cluster.local, are of one site where all but their first label is the same, as it is for the Services of
// one namespace. An address is a site of its own.
func Same(a, b string) bool {
	if a == b {
		return true
	}
	if isAddress(a) || isAddress(b) {
		return false
	}
	if !listed(a) || !listed(b) {
		return besides(a, b)
	}
	of, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil {
		return false
	}
	other, err := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && of == other
}

// listed tells whether the list has a rule for a name; for others it takes the last label for the suffix.
func listed(host string) bool {
	suffix, icann := publicsuffix.PublicSuffix(host)
	return icann || strings.Contains(suffix, ".")
}

// besides tells whether two names differ in their first label only, and by what follows are of more than a top-level domain.
func besides(a, b string) bool {
	_, parent, _ := strings.Cut(a, ".")
	_, other, _ := strings.Cut(b, ".")
	return parent == other && strings.Contains(parent, ".")
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
