package bench

import (
	"maps"
	"os"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
)

// usage is the processor time that processes have taken, by name.
type usage map[string]time.Duration

// usage reads what every process takes part with has taken so far: the control plane's, the agents', each with the git
// commands that it ran, and the benchmark's, which is the Git server, too.
func (b *bench) usage() (usage, error) {
	ids := maps.Clone(b.world.Kube.Processes())
	ids["benchmark"] = os.Getpid()
	if b.world.Automator.Runs() {
		ids["automator"] = b.world.Automator.ID()
	}
	if b.site.Synchronizer.Runs() {
		ids["synchronizer"] = b.site.Synchronizer.ID()
	}
	taken := usage{}
	for name, id := range ids {
		own, children, err := measure.Processor(id)
		if err != nil {
			return nil, err
		}
		taken[name] = own + children
	}
	return taken, nil
}

// since is what was taken after an earlier look, in seconds.
func (u usage) since(before usage) map[string]float64 {
	taken := map[string]float64{}
	for name, now := range u {
		taken[name] = seconds(now - before[name])
	}
	return taken
}
