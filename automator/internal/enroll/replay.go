package enroll

import (
	"sync"
	"time"

	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
)

const (
	// replayWindow is how long a used pass must be remembered: until it would be refused for its age.
	replayWindow = credential.PassLife + 2*credential.PassSkew
	// maxPasses bounds the passes that one identity may use within a window; it bounds the memory, too.
	maxPasses = 4096
)

// replays remembers the passes that were used, in two generations of a window each.
type replays struct {
	mu            sync.Mutex
	began         time.Time
	young, mature map[string]map[string]struct{} // identity → pass ids
}

func newReplays() *replays {
	return &replays{young: map[string]map[string]struct{}{}, mature: map[string]map[string]struct{}{}}
}

// use uses a pass up.
func (r *replays) use(id rpc.Identity, pass string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.began); age >= replayWindow {
		r.mature = r.young
		if age >= 2*replayWindow {
			r.mature = nil
		}
		r.young, r.began = map[string]map[string]struct{}{}, now
	}
	who := id.String()
	_, young := r.young[who][pass]
	if _, mature := r.mature[who][pass]; young || mature {
		return fault.New(fault.Unauthorized, "the pass is refused: it was used before; every call needs its own")
	}
	if len(r.young[who]) >= maxPasses {
		return fault.New(fault.Conflict, "%s used %d passes within %s, which is all it may; try again in a moment", id, maxPasses, replayWindow)
	}
	if r.young[who] == nil {
		r.young[who] = map[string]struct{}{}
	}
	r.young[who][pass] = struct{}{}
	return nil
}
