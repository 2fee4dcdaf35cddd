package env

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// maxAnswer bounds what an agent's admin port may answer, in bytes.
const maxAnswer = 64 << 20

// Get asks the agent's admin port, for "/metrics" for instance.
func (a *Agent) Get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.cfg.admin+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxAnswer))
}
