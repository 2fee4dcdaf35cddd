package registry

import (
	"errors"
	"fmt"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
)

// mirrorRest is for how long a mirror that failed is not asked, while another place can be: each question would wait for it again.
const mirrorRest = 30 * time.Second

// failure is what went wrong at a registry last, and until when that counts. Its zero value is none.
type failure struct {
	until time.Time
	why   string
}

// noteAnswer remembers whether a registry failed. One that has no such thing, or says that we may not have it, did not.
func (h *host) noteAnswer(err error) {
	var now failure
	switch {
	case err == nil, errors.Is(err, errNone), fault.Is(err, fault.NotFound), fault.Is(err, fault.Unauthorized), fault.Is(err, fault.Invalid):
	default:
		now = failure{until: time.Now().Add(mirrorRest), why: err.Error()}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = now
}

// rests returns why a registry is not asked for now; nil when it is.
func (h *host) rests() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Until(h.failed.until) <= 0 {
		return nil
	}
	return fmt.Errorf("mirror %s is not asked for %s after it failed: %s", h.name, mirrorRest, h.failed.why)
}
