package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tandem-cd/tandem/integration/bench/autobench"
)

// table prints what was measured beside what it is to be.
func table(out io.Writer, r autobench.Report) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nWHAT\tFIGURE\tBESIDE IT\tTARGET")
	if p := r.Push; p != nil {
		fmt.Fprintf(w, "webhook → commit, p50, p99\t%.1f, %.1f ms\t%.1f, %.1f ms bare push\t+40 ms\n", p.P50, p.P99, p.BareP50, p.BareP99)
	}
	if s := r.Scan; s != nil {
		fmt.Fprintf(w, "a round of %d repositories, %d tags: processor\t%.2f s\t%.2f s of git\t2 s\n", s.Repositories, s.Tags, s.CPU, s.GitCPU)
		fmt.Fprintf(w, "the same: requests; of the first round\t%.1f; %d\t%d refused\t%d\n", s.Requests, s.FirstRequests, s.Refused, s.Repositories)
		fmt.Fprintf(w, "the same: memory at its peak; of the first round\t%.1f; %.1f MiB\t\t100 MiB\n", s.Resident, s.FirstResident)
	}
	if t := r.Tags; t != nil {
		fmt.Fprintf(w, "%d tags: inspected first, after %d more, after a restart\t%d, %d, %d\t%d, %d, %d requests\tthe new ones\n",
			t.Tags, t.NewTags, t.First.Inspected, t.Second.Inspected, t.Restart.Inspected, t.First.Requests, t.Second.Requests, t.Restart.Requests)
	}
	if e := r.Edit; e != nil {
		fmt.Fprintf(w, "%d files: first look\t%.2f s\t%.2f s fetch before it\t20 s\n", e.Files, e.Index, e.Clone)
		fmt.Fprintf(w, "the same: webhook → commit, p50, p99\t%.1f, %.1f ms\t%.1f ms bare push\t500 ms\n", e.Commit, e.P99, e.Bare)
		fmt.Fprintf(w, "the same, right after somebody else's push, p50\t%.1f ms\t\t\n", e.Behind)
		fmt.Fprintf(w, "the same: memory at its peak\t%.1f MiB\t\t300 MiB\n", e.Resident)
	}
	if x := r.Race; x != nil {
		fmt.Fprintf(w, "%d writers: landed, twice, foreign commits lost\t%d of %d, %d, %d of %d\t\tall, 0, 0\n", x.Writers, x.Landed, x.Updates, x.Duplicates, x.Lost, x.Foreign)
		fmt.Fprintf(w, "the same: webhook → commit, p50, p99\t%.2f, %.2f s\t%.1f foreign pushes a second\t20 s\n", x.P50, x.P99, x.PerSecond)
	}
	return w.Flush()
}
