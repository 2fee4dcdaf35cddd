package rules

import (
	"strings"
	"testing"
)

// part is what a package plays in the dependency rule.
type part string

const (
	value   part = "value"   // types that every part reasons with
	core    part = "core"    // pure: no clock, no disk, no network
	infra   part = "infra"   // lifetimes, connections, telemetry, configuration
	adapter part = "adapter" // wraps one outside thing
	loop    part = "loop"    // joins cores and adapters, and owns retry
	door    part = "door"    // answers people and programs from what loops know
	top     part = "top"     // a component's composition root
	command part = "command" // a program
	system  part = "system"  // environments, suites, benchmarks
	double  part = "double"  // imported by tests only
)

// parts is the map of the tree. A package below one that is named here plays
// its part too, unless it is named itself; one whose name ends in "test" is for
// tests.
var parts = map[string]part{
	"proto/gen": value,

	"shared/backoff":    value,
	"shared/bundle":     infra,
	"shared/config":     infra,
	"shared/credential": core,
	"shared/doctor":     infra,
	"shared/fair":       core,
	"shared/fault":      value,
	"shared/fleet":      value,
	"shared/gitobject":  core,
	"shared/imageref":   core,
	"shared/instant":    value,
	"shared/printable":  value,
	"shared/redact":     value,
	"shared/revision":   value,
	"shared/rpc":        infra,
	"shared/run":        infra,
	"shared/shard":      value,
	"shared/signature":  core,
	"shared/telemetry":  infra,

	"automator":                     top,
	"automator/cmd/automator":       command,
	"automator/cmd/tandem":          command,
	"automator/githosttest":         double,
	"automator/internal/api":        door,
	"automator/internal/authority":  adapter,
	"automator/internal/cli":        door,
	"automator/internal/cloud":      adapter,
	"automator/internal/dashboard":  door,
	"automator/internal/edit":       core,
	"automator/internal/enroll":     door,
	"automator/internal/githost":    adapter,
	"automator/internal/gitrepo":    adapter,
	"automator/internal/message":    core,
	"automator/internal/metrics":    core,
	"automator/internal/migrate":    core,
	"automator/internal/notify":     adapter,
	"automator/internal/pipeline":   core,
	"automator/internal/policy":     core,
	"automator/internal/registry":   adapter,
	"automator/internal/relay":      adapter,
	"automator/internal/samesite":   value,
	"automator/internal/scan":       loop,
	"automator/internal/shortlived": infra,
	"automator/internal/store":      adapter,
	"automator/internal/tlsfiles":   infra,
	"automator/internal/traces":     adapter,
	"automator/internal/update":     loop,
	"automator/internal/vault":      adapter,
	"automator/internal/verify":     loop,
	"automator/internal/webhook":    adapter,
	"automator/vaulttest":           double,

	"synchronizer":                     top,
	"synchronizer/api":                 value,
	"synchronizer/cmd/renderer":        command,
	"synchronizer/cmd/synchronizer":    command,
	"synchronizer/internal/access":     adapter,
	"synchronizer/internal/apply":      adapter,
	"synchronizer/internal/baseline":   core,
	"synchronizer/internal/compare":    core,
	"synchronizer/internal/converge":   loop,
	"synchronizer/internal/drift":      core,
	"synchronizer/internal/enroll":     loop,
	"synchronizer/internal/evidence":   loop,
	"synchronizer/internal/expression": core,
	"synchronizer/internal/health":     core,
	"synchronizer/internal/inventory":  core,
	"synchronizer/internal/kubetest":   double,
	"synchronizer/internal/lease":      adapter,
	"synchronizer/internal/live":       adapter,
	"synchronizer/internal/object":     value,
	"synchronizer/internal/objects":    adapter,
	"synchronizer/internal/overlay":    core,
	"synchronizer/internal/plan":       core,
	"synchronizer/internal/preview":    loop,
	"synchronizer/internal/relay":      adapter,
	"synchronizer/internal/render":     core,
	"synchronizer/internal/report":     loop,
	"synchronizer/internal/serve":      loop,
	"synchronizer/internal/shards":     adapter,
	"synchronizer/internal/signed":     core,
	"synchronizer/internal/survey":     loop,
	"synchronizer/internal/syncs":      adapter,
	"synchronizer/internal/tenancy":    core,
	"synchronizer/internal/trust":      core,

	"integration/bench":    system,
	"integration/charts":   system,
	"integration/chaos":    system,
	"integration/cmd":      command,
	"integration/env":      system,
	"integration/images":   system,
	"integration/nodetest": system,
	"integration/rules":    system,
	"integration/suites":   system,
}

// entry returns the line of the map that speaks for a package.
func entry(path string) (string, bool) {
	for folder := path; folder != "."; {
		if _, ok := parts[folder]; ok {
			// A composition root speaks for itself only, or every package of its
			// component would be placed without anyone having thought about it.
			return folder, folder == path || parts[folder] != top
		}
		cut := strings.LastIndex(folder, "/")
		if cut < 0 {
			break
		}
		folder = folder[:cut]
	}
	return "", false
}

// partOf returns the part of a package, or "" for one that nobody placed.
func partOf(path string) part {
	folder, ok := entry(path)
	switch {
	case !ok:
		return ""
	case folder != path && strings.HasSuffix(path, "test"):
		return double
	default:
		return parts[folder]
	}
}

func TestMap(t *testing.T) {
	found := map[string]bool{}
	for _, p := range packages(t) {
		folder, ok := entry(p.path)
		if !ok {
			t.Errorf("%s: not in the map: add it to integration/rules/map_test.go with the part it plays", p.path)
		}
		found[folder] = true
	}
	for folder := range parts {
		if complete && !found[folder] {
			t.Errorf("%s: in the map, but there is no such package", folder)
		}
	}
}
