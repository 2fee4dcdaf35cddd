package autobench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// get asks the automator's admin address.
func (w *world) get(ctx context.Context, path string, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.admin+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, response.Status)
	}
	if read == nil {
		return nil
	}
	return read(response.Body)
}

// metric is the sum of the automator's samples whose line begins with a name, up to the labels that are given.
func (w *world) metric(ctx context.Context, prefix string) (sum float64, err error) {
	err = w.get(ctx, "/metrics", func(body io.Reader) error {
		lines := bufio.NewScanner(body)
		for lines.Scan() {
			line := lines.Text()
			at := strings.LastIndexByte(line, ' ')
			if at < 0 || !strings.HasPrefix(line, prefix) {
				continue
			}
			value, err := strconv.ParseFloat(line[at+1:], 64)
			if err != nil {
				return err
			}
			sum += value
		}
		return lines.Err()
	})
	return sum, err
}
