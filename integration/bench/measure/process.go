package measure

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of /proc/<pid>/stat; Linux promises 100 a second to user space.
const clockTick = 10 * time.Millisecond

// Resident is the memory that a process occupies, in MiB, as Linux tells it.
func Resident(pid int) (float64, error) { return statusOf(pid, "VmRSS:") }

// Peak is the most that a process has occupied since ResetPeak, or since it began, in MiB.
func Peak(pid int) (float64, error) { return statusOf(pid, "VmHWM:") }

// ResetPeak begins to look for the peak anew; see proc_pid_clear_refs(5).
func ResetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

func statusOf(pid int, field string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) > 1 && string(fields[0]) == field {
			kib, err := strconv.ParseFloat(string(fields[1]), 64)
			return Tenth(kib / 1024), err
		}
	}
	return 0, fmt.Errorf("process %d does not say its %s", pid, strings.TrimSuffix(field, ":"))
}

// Processor is the processor time that a process took so far, and that its children took which have ended.
func Processor(pid int) (own, children time.Duration, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const first, past = 11, 15 // user, system, and both of the children, counted after the name in parentheses
	if len(fields) < past {
		return 0, 0, fmt.Errorf("process %d has an unknown stat", pid)
	}
	var times [past - first]time.Duration
	for i := range times {
		ticks, err := strconv.ParseInt(fields[first+i], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		times[i] = time.Duration(ticks) * clockTick
	}
	return times[0] + times[1], times[2] + times[3], nil
}
