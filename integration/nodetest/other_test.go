//go:build !linux

package nodetest

import "testing"

func TestInstall(t *testing.T) {
	t.Skip("NOT RUN: Linux is needed: Pods are its namespaces and cgroups")
}
