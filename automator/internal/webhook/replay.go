package webhook

import (
	"net/http"
	"sync"
	"time"
)

const (
	// replayWindow is how long a delivery is remembered. A caller that sends it again within that time gets the same answer,
	// and nobody is bothered.
	replayWindow = 10 * time.Minute
	// maxDeliveries bounds the deliveries that are remembered; the oldest goes first.
	maxDeliveries = 4096
)

// deliveries remembers what was delivered.
type deliveries struct {
	mu   sync.Mutex
	seen map[string]time.Time
	ring [maxDeliveries]string
	next int
}

func newDeliveries() *deliveries { return &deliveries{seen: make(map[string]time.Time)} }

// again takes note of a delivery, and tells whether it was there a while ago.
func (d *deliveries) again(key string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.seen[key]; ok && now.Sub(at) < replayWindow {
		return true
	}
	if _, ok := d.seen[key]; !ok {
		delete(d.seen, d.ring[d.next])
		d.ring[d.next] = key
		d.next = (d.next + 1) % maxDeliveries
	}
	d.seen[key] = now
	return false
}

// deliveryID returns what makes a delivery one of its kind: the signature of its body where it has one, because whoever
// replays can change a header, else the id that the provider gives it; empty if there is neither.
func deliveryID(req *http.Request, p *proof) string {
	if p.signed() {
		return "signature " + string(p.want)
	}
	for _, header := range []string{
		"X-Github-Delivery", "X-Gitlab-Event-Uuid", "X-Gitea-Delivery", "X-Forgejo-Delivery", "X-Nexus-Webhook-Delivery",
		"X-Request-Uuid", "Ce-Id",
	} {
		if id := req.Header.Get(header); id != "" {
			return header + " " + id[:min(len(id), 256)]
		}
	}
	return ""
}
