// Package samesite tells whether two hosts belong to the same owner, as the public suffix list has it.
package samesite

import (
	"net/netip"

	"golang.org/x/net/publicsuffix"
)

// Same reports whether two names of hosts are of one site, such as auth.docker.io and index.docker.io, or the Services of one
// namespace. An address is a site of its own.
func Same(a, b string) bool {
	if a == b {
		return true
	}
	if isAddress(a) || isAddress(b) {
		return false
	}
	of, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil {
		return false
	}
	other, err := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && of == other
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
