package githost

import (
	"net/url"
	"strings"
	"sync"
	"time"
)

// Pauses are how long hosts want to be left alone. Their limits are those of an installation, or of an App, whichever repository a
// request was for, so that all repositories of a process share one of these. The zero value is ready; it is safe for concurrent use.
type Pauses struct {
	mu sync.Mutex
	of map[quota]pause
}

// quota is what has a limit of its own at a host: an installation, as which GraphQL is asked, or an App, as which tokens are asked
// for. The number of an installation is nobody else's at the same host.
type quota struct {
	api, installation, app string
}

func (a App) quotaOfCommits(api *url.URL) quota {
	return quota{api: hostOf(api), installation: a.Installation}
}

func (a App) quotaOfTokens(api *url.URL) quota { return quota{api: hostOf(api), app: a.ID} }

func hostOf(api *url.URL) string { return strings.TrimSuffix(api.String(), "/") }

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
