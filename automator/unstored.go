package automator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/redact"
)

// maxReason bounds what is shown of why events are not stored, in bytes.
const maxReason = 768

// unstored is why the store takes no events, and since when.
type unstored struct {
	mu    sync.Mutex
	since time.Time // zero while it takes them
	last  error
}

// note takes note of how a storing ended. An event that is wrong, and who gave up, say nothing of the store.
func (u *unstored) note(err error) {
	if fault.Is(err, fault.Invalid) || errors.Is(err, context.Canceled) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case err == nil:
		u.since = time.Time{}
	case u.since.IsZero():
		u.since = time.Now()
	}
	u.last = err
}

// Problems says since when no events are stored, and why not when it was tried last.
func (u *unstored) Problems() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.since.IsZero() {
		return nil
	}
	why := redact.OneLine(u.last.Error(), maxReason)
	return []string{fmt.Sprintf("no events are stored since %s: %s; clusters keep theirs until they are", u.since.UTC().Format(time.RFC3339), why)}
}
