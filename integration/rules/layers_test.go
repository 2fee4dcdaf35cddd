package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// ban forbids packages to import others.
type ban struct {
	reason string
	// from says which packages of ours it binds.
	from func(pkg) bool
	// imports are forbidden: a path, and what is below it. Paths of ours stand
	// without the prefix.
	imports []string
	// except are allowed nevertheless.
	except []string
	// deep forbids the imports of imports too.
	deep bool
}

func in(folders ...string) func(pkg) bool {
	return func(p pkg) bool {
		return slices.ContainsFunc(folders, func(folder string) bool { return below(p.path, folder) })
	}
}

func playing(some ...part) func(pkg) bool {
	return func(p pkg) bool { return slices.Contains(some, partOf(p.path)) }
}

var bans = []ban{
	{
		reason:  "proto holds schemas and what is generated from them",
		from:    in("proto"),
		imports: []string{"shared", "automator", "synchronizer", "integration"},
		deep:    true,
	},
	{
		reason:  "shared knows no component, else it is not shared",
		from:    in("shared"),
		imports: []string{"automator", "synchronizer", "integration"},
		deep:    true,
	},
	{
		reason:  "the agents meet on the wire, not in a type",
		from:    in("automator"),
		imports: []string{"synchronizer"},
		deep:    true,
	},
	{
		reason:  "the agents meet on the wire, not in a type",
		from:    in("synchronizer"),
		imports: []string{"automator"},
		deep:    true,
	},
	{
		reason:  "integration is the reader of the product, and nobody's library",
		from:    in("proto", "shared", "automator", "synchronizer"),
		imports: []string{"integration"},
		deep:    true,
	},
	{
		reason:  "the automator and the CLI hold no cluster credential, so they need no client for one",
		from:    in("automator"),
		imports: []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"},
		deep:    true,
	},
	{
		reason:  "the synchronizer asks no registry and keeps no database: both stay outside the cluster",
		from:    in("synchronizer"),
		imports: []string{"github.com/google/go-containerregistry/pkg/v1/remote", "modernc.org/sqlite", "github.com/jackc/pgx", "github.com/pressly/goose"},
		deep:    true,
	},
	{
		reason: "a core is pure, so that its tests need no world: the caller brings bytes, clock values and decisions",
		from:   playing(core),
		imports: []string{
			"net", "os", "log", "testing", "database/sql",
			"google.golang.org/grpc", "go.uber.org/zap", "github.com/prometheus/client_golang", "k8s.io/client-go",
		},
		except: []string{"net/netip", "net/url"},
	},
	{
		reason:  "wire types stop at the edge; cores reason with values",
		from:    playing(core),
		imports: []string{"proto/gen"},
	},
	{
		reason:  "the composition root and the programs stand above everything of their component",
		from:    playing(value, core, infra, adapter, loop, door),
		imports: []string{"automator/cmd", "synchronizer/cmd"},
	},
}

// breach says that a package of ours imports what it must not.
type breach struct{ from, imports, reason string }

func (b breach) String() string {
	return fmt.Sprintf("%s imports %s: %s", b.from, b.imports, b.reason)
}

// breaches applies a ban to the packages it binds, and returns how many those
// are.
func (b ban) breaches(list []pkg) (bound int, found []breach) {
	for _, p := range list {
		if !b.from(p) {
			continue
		}
		bound++
		imports := p.imports
		if b.deep {
			imports = p.dependencies
		}
		for _, path := range imports {
			short := strings.TrimPrefix(path, prefix)
			if anyBelow(short, b.imports) && !anyBelow(short, b.except) {
				found = append(found, breach{from: p.path, imports: short, reason: b.reason})
			}
		}
	}
	return bound, found
}

func anyBelow(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool { return below(path, folder) })
}

// placed are the rules between the parts of the map: which parts of ours a part
// may import.
var placed = map[part]struct {
	may    []part
	reason string
}{
	value:   {may: []part{value, core}, reason: "a value depends on values and pure code only"},
	core:    {may: []part{value, core}, reason: "a core depends on values and other cores only"},
	infra:   {may: []part{value, core, infra}, reason: "shared infrastructure knows no adapter and no loop"},
	adapter: {may: []part{value, core, infra}, reason: "an adapter wraps one outside thing; a loop joins two"},
	door:    {may: []part{value, core, infra, adapter, loop}, reason: "a door stands below its composition root"},
	loop:    {may: []part{value, core, infra, adapter, loop}, reason: "a loop stands below its composition root"},
}

// misplaced finds imports against the map. Packages below one entry of the map
// may import each other.
func misplaced(list []pkg) []breach {
	var found []breach
	for _, p := range list {
		rule, ok := placed[partOf(p.path)]
		if !ok {
			continue
		}
		for _, path := range p.imports {
			short, ours := strings.CutPrefix(path, prefix)
			if !ours || family(short) == family(p.path) || slices.Contains(rule.may, partOf(short)) {
				continue
			}
			found = append(found, breach{from: p.path, imports: short, reason: rule.reason})
		}
	}
	return found
}

func family(path string) string {
	folder, _ := entry(path)
	return folder
}

// testOnly finds packages for tests that are linked into the product.
func testOnly(list []pkg) []breach {
	var found []breach
	for _, p := range list {
		if below(p.path, "integration") || partOf(p.path) == double {
			continue
		}
		for _, path := range p.imports {
			short, ours := strings.CutPrefix(path, prefix)
			if ours && partOf(short) == double {
				found = append(found, breach{from: p.path, imports: short, reason: "it is for tests"})
			}
		}
	}
	return found
}

func TestLayers(t *testing.T) {
	list := packages(t)
	for _, b := range bans {
		bound, found := b.breaches(list)
		if complete && bound == 0 {
			t.Errorf("binds no package: %s", b.reason)
		}
		report(t, found)
	}
	report(t, misplaced(list))
	report(t, testOnly(list))
}

func report(t *testing.T, found []breach) {
	t.Helper()
	for _, one := range found {
		t.Error(one)
	}
}

// TestLayersSeeBreaches proves that the rules can fail.
func TestLayersSeeBreaches(t *testing.T) {
	cases := map[string]struct {
		reason string
		given  pkg
		want   string
	}{
		"SharedImportsComponent": {
			reason: "The dependency rule goes one way.",
			given:  pkg{path: "shared/run", dependencies: []string{prefix + "automator"}},
			want:   "automator",
		},
		"AgentsImportEachOther": {
			reason: "They meet on the wire.",
			given:  pkg{path: "synchronizer", dependencies: []string{prefix + "automator"}},
			want:   "automator",
		},
		"CommandLineReachesCluster": {
			reason: "Deep: an import of an import counts.",
			given:  pkg{path: "automator/cmd/tandem", dependencies: []string{"k8s.io/client-go/rest"}},
			want:   "k8s.io/client-go/rest",
		},
		"CoreOpensSocket": {
			reason: "Cores are pure.",
			given:  pkg{path: "synchronizer/internal/plan", imports: []string{"net/netip", "net/http"}},
			want:   "net/http",
		},
		"CoreBelowCore": {
			reason: "A package below a core is one.",
			given:  pkg{path: "shared/gitobject/delta", imports: []string{"os/exec"}},
			want:   "os/exec",
		},
		"AdapterImportsAdapter": {
			reason: "Loops join adapters.",
			given:  pkg{path: "automator/internal/registry", imports: []string{prefix + "automator/internal/store"}},
			want:   "automator/internal/store",
		},
		"LoopImportsRoot": {
			reason: "The root composes loops.",
			given:  pkg{path: "automator/internal/scan", imports: []string{prefix + "automator"}},
			want:   "automator",
		},
		"ProductImportsFake": {
			reason: "What is for tests is not linked.",
			given:  pkg{path: "automator", imports: []string{prefix + "shared/rpc/rpctest"}},
			want:   "shared/rpc/rpctest",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			found := append(misplaced([]pkg{tc.given}), testOnly([]pkg{tc.given})...)
			for _, b := range bans {
				_, more := b.breaches([]pkg{tc.given})
				found = append(found, more...)
			}
			if !slices.ContainsFunc(found, func(b breach) bool { return b.imports == tc.want }) {
				t.Errorf("%s: breaches are %v, want one of %s", tc.reason, found, tc.want)
			}
		})
	}
}
