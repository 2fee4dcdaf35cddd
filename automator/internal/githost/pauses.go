package githost

import (
	"net/url"
	"strings"
	"sync"
	"time"
)

// Pauses are how long hosts want to be left alone. Their limits are those of an installation, whichever of its repositories a
// request was for, so that all repositories of a process share one of these. The zero value is ready; it is safe for concurrent use.
type Pauses struct {
	mu sync.Mutex
	of map[quota]pause
}

// quota is what has a limit of its own: an installation's requests to GraphQL, or those for its tokens.
type quota struct {
	api, installation string
	tokens            bool
}

// quota is that of the installation, whose number nobody else has at the same host.
func (a App) quota(api *url.URL) quota {
	return quota{api: strings.TrimSuffix(api.String(), "/"), installation: a.Installation}
}

type pause struct {
	until  time.Time
	reason string
}

// left is a LaterError while the host wants to be left alone.
func (p *Pauses) left(of quota) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.of[of]
	if left := time.Until(now.until); left > 0 {
		return &LaterError{After: left, Reason: now.reason}
	}
	return nil
}

// begin leaves the host alone as long as it wishes; a shorter wish changes nothing.
func (p *Pauses) begin(of quota, wish *LaterError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[quota]pause{}
	}
	if until := time.Now().Add(wish.After); until.After(p.of[of].until) {
		p.of[of] = pause{until: until, reason: wish.Reason}
	}
}
