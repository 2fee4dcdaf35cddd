package relaybench

import (
	"encoding/json"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
)

// Options choose how much is measured. See Defaults.
type Options struct {
	// Clients is the number of synchronizers.
	Clients int
	// Announcements is how many commits are announced to all of them.
	Announcements int
	// Outage is how long the automator is gone.
	Outage time.Duration
	// Soak is how long commits, reports and cuts go on while memory is watched; 0 leaves it out.
	Soak time.Duration
	// Fetch has every synchronizer fetch what is announced.
	Fetch bool
	// Baseline measures the bare health watch too.
	Baseline bool
	// Program builds the automator into a folder and returns its path.
	Program string
	// Self is the path of the program that runs as the baseline's server, see HealthServer.
	Self string
	// Keep is a folder for what is left behind; by default a temporary one that is removed.
	Keep string
	// Say tells what goes on.
	Say func(format string, args ...any)
}

// Defaults are what docs/benchmarks.md was measured with.
func Defaults() Options {
	return Options{Clients: 2000, Announcements: 20, Outage: 5 * time.Minute, Fetch: true, Baseline: true}
}

// Report is what was measured. Times are in the unit of their name.
type Report struct {
	Clients int `json:"clients"`
	// ReconnectCut is from the cut of every connection until every synchronizer follows and reports again.
	ReconnectCut float64 `json:"reconnect_cut_s"`
	// ReconnectDown is the same from the start of an automator that was gone.
	ReconnectDown float64 `json:"reconnect_down_s"`
	// Outage is how long it was gone.
	Outage float64 `json:"outage_s"`
	// Announce is from the moment the automator announced a commit to the first synchronizer, to its arrival at each.
	Announce measure.Spread `json:"announce_ms"`
	// Pushed is from the push on the Git server to the arrival: the webhook, git's own fetch and the look at the trees
	// are in it.
	Pushed measure.Spread `json:"pushed_ms"`
	// Acked is from the first announcement to the stored and acknowledged event of each.
	Acked measure.Spread `json:"acked_ms"`
	// Memory is what the automator's resident memory grew by when the synchronizers connected.
	Memory float64 `json:"rss_mib_per_1000"`
	// MemoryEmpty, MemoryFull and MemoryEnd are the whole process: without synchronizers, with all, and in the end.
	MemoryEmpty float64 `json:"rss_mib_empty"`
	MemoryFull  float64 `json:"rss_mib_full"`
	MemoryEnd   float64 `json:"rss_mib_end"`
	// Goroutines are those of each synchronizer's streams in the automator.
	Goroutines float64 `json:"goroutines_per_client"`
	// CPU is the automator's processor time: for a reconnect of all, and for an announcement to all.
	CPUReconnect float64   `json:"cpu_reconnect_s"`
	CPUAnnounce  float64   `json:"cpu_announce_s"`
	Baseline     *Baseline `json:"baseline,omitempty"`
	Soak         *Soak     `json:"soak,omitempty"`
	Hostile      []Harm    `json:"hostile,omitempty"`
}

// Baseline is the same of a bare gRPC health watch: mutual TLS 1.3, one stream for each client, default buffers on the
// server.
type Baseline struct {
	ReconnectCut float64        `json:"reconnect_cut_s"`
	Announce     measure.Spread `json:"announce_ms"`
	Memory       float64        `json:"rss_mib_per_1000"`
	CPUReconnect float64        `json:"cpu_reconnect_s"`
}

// JSON is the report on one line.
func (r Report) JSON() ([]byte, error) { return json.Marshal(r) }
