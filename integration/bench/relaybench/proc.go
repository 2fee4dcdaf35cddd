package relaybench

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/integration/bench/measure"
)

// processor is the processor time that a process took so far.
func processor(pid int) (time.Duration, error) {
	own, _, err := measure.Processor(pid)
	return own, err
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
