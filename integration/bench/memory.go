package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
)

// memory reads what both agents occupy.
func (b *bench) memory(_ context.Context, report *Report) (err error) {
	if report.Memory.Automator, err = resident(b.world.Automator.ID()); err != nil {
		return err
	}
	report.Memory.Synchronizer, err = resident(b.site.Synchronizer.ID())
	return err
}

// resident is the resident memory of a process in MiB, as Linux tells it.
func resident(pid int) (float64, error) { return statusOf(pid, "VmRSS:") }

// peak is the most that a process has occupied since resetPeak, in MiB.
func peak(pid int) (float64, error) { return statusOf(pid, "VmHWM:") }

// resetPeak begins to look for the peak anew; see proc_pid_clear_refs(5).
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

func statusOf(pid int, field string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) < 2 || string(fields[0]) != field {
			continue
		}
		kib, err := strconv.ParseFloat(string(fields[1]), 64)
		return float64(int(kib/1024*10)) / 10, err
	}
	return 0, fmt.Errorf("process %d does not say how much memory it has", pid)
}
