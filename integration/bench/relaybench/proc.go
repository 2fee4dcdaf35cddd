package relaybench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of /proc/<pid>/stat; Linux promises 100 a second to user space.
const clockTick = 10 * time.Millisecond

// resident is the resident memory of a process in MiB, as Linux tells it.
func resident(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) > 1 && string(fields[0]) == "VmRSS:" {
			kib, err := strconv.ParseFloat(string(fields[1]), 64)
			return tenth(kib / 1024), err
		}
	}
	return 0, fmt.Errorf("process %d does not say how much memory it has", pid)
}

// processor is the processor time that a process took so far.
func processor(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const user, system = 11, 12 // counted after the name in parentheses
	if len(fields) <= system {
		return 0, fmt.Errorf("process %d has an unknown stat", pid)
	}
	var ticks int64
	for _, field := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// gauges reads values of a process's /metrics by name.
func gauges(ctx context.Context, address string, names ...string) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	found := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		for _, wanted := range names {
			if name != wanted {
				continue
			}
			if found[name], err = strconv.ParseFloat(value, 64); err != nil {
				return nil, err
			}
		}
	}
	return found, lines.Err()
}

// tenth leaves one digit behind the point.
func tenth(x float64) float64 { return float64(int(x*10+0.5)) / 10 }
