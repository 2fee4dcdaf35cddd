package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tandem-cd/tandem/integration/bench/relaybench"
)

// table prints ours beside the baseline.
func table(out io.Writer, r relaybench.Report) error {
	b := r.Baseline
	if b == nil {
		b = &relaybench.Baseline{}
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "\n%d CLIENTS\tTANDEM\tBARE HEALTH WATCH\tTARGET\n", r.Clients)
	fmt.Fprintf(w, "all back after a cut\t%.2f s\t%.2f s\t15 s\n", r.ReconnectCut, b.ReconnectCut)
	if r.Outage > 0 {
		fmt.Fprintf(w, "all back after %.0f s of outage\t%.2f s\t\t75 s\n", r.Outage, r.ReconnectDown)
	}
	fmt.Fprintf(w, "announced to all, p50\t%.1f ms\t%.1f ms\t\n", r.Announce.P50, b.Announce.P50)
	fmt.Fprintf(w, "announced to all, p99\t%.1f ms\t%.1f ms\t300 ms\n", r.Announce.P99, b.Announce.P99)
	fmt.Fprintf(w, "pushed → announced to all, p99\t%.1f ms\t\t\n", r.Pushed.P99)
	fmt.Fprintf(w, "acknowledged by all, p99\t%.1f ms\t\t\n", r.Acked.P99)
	fmt.Fprintf(w, "memory per 1,000\t%.1f MiB\t%.1f MiB\t60 MiB\n", r.Memory, b.Memory)
	fmt.Fprintf(w, "memory of the automator: empty, full, in the end\t%.1f, %.1f, %.1f MiB\t\t\n", r.MemoryEmpty, r.MemoryFull, r.MemoryEnd)
	fmt.Fprintf(w, "goroutines for each\t%.1f\t\t\n", r.Goroutines)
	fmt.Fprintf(w, "processor: reconnect of all, announcement to all\t%.2f s, %.3f s\t%.2f s\t\n", r.CPUReconnect, r.CPUAnnounce, b.CPUReconnect)
	if s := r.Soak; s != nil {
		fmt.Fprintf(w, "soak of %.0f s (%d commits, %d cuts): memory\t%.1f → %.1f MiB\t%+.1f MiB/h\tno growth\n", s.Seconds, s.Commits, s.Cuts, s.Start.Resident, s.End.Resident, s.Slope.Resident)
		fmt.Fprintf(w, "soak: heap\t%.1f → %.1f MiB\t%+.1f MiB/h\t\n", s.Start.Heap, s.End.Heap, s.Slope.Heap)
		fmt.Fprintf(w, "soak: goroutines\t%.0f → %.0f\t%+.0f/h\t\n", s.Start.Goroutines, s.End.Goroutines, s.Slope.Goroutines)
	}
	return w.Flush()
}

// harmTable prints what each attack did to the neighbours.
func harmTable(out io.Writer, r relaybench.Report) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "\n%d NEIGHBOURS BESIDE\tANNOUNCED p50\tp99\tACKNOWLEDGED p99\tPROCESSORS\tMEMORY\tSTREAMS LOST\tTHE ATTACKER\n", r.Clients)
	for _, h := range r.Hostile {
		fmt.Fprintf(w, "%s\t%.1f ms\t%.1f ms\t%.1f ms\t%.2f\t%.0f MiB\t%d\t%s\n",
			h.Attack, h.Announce.P50, h.Announce.P99, h.Acked.P99, h.CPU, h.Memory, h.Lost, h.Did)
	}
	return w.Flush()
}
