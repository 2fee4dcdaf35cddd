package registry

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How a budget moves.
const (
	// budgetFloor is the lowest rate that complaints lead to, in requests per second.
	budgetFloor = 0.2
	// recoverEvery is how long a registry must not complain before the rate grows by half again.
	recoverEvery = time.Minute
	// defaultRetryAfter is the pause after a complaint that names none.
	defaultRetryAfter = 30 * time.Second
	// maxRetryAfter bounds a pause that a registry asks for. Docker Hub's longest window is six hours, but it does not
	// take so long until the first requests of the window are forgotten.
	maxRetryAfter = time.Hour
)

// RateLimitedError says that a registry wants to be left alone for a while.
type RateLimitedError struct {
	// Host is the registry.
	Host string
	// After is how long.
	After time.Duration
}

func (e *RateLimitedError) Error() string {
	return fmt.Sprintf("registry %s limits the rate of requests: it is not asked for %s; credentials usually raise its limit, requestsPerSecond lowers ours",
		e.Host, e.After.Round(time.Second))
}

// RetryAfter returns how long the registry wants to be left alone.
func (e *RateLimitedError) RetryAfter() time.Duration { return e.After }

// budget paces the requests to one registry.
type budget struct {
	host    string
	full    rate.Limit
	limiter *rate.Limiter

	mu    sync.Mutex
	until time.Time // nothing is sent before
	moved time.Time // when the rate was changed last
}

func newBudget(host string, perSecond float64) *budget {
	full := rate.Limit(perSecond)
	return &budget{host: host, full: full, limiter: rate.NewLimiter(full, max(1, int(2*perSecond)))}
}

// wait blocks until a request may be sent. It fails at once when the registry asked for a pause, and when the context
// would end before the budget allows a request.
func (b *budget) wait(ctx context.Context) error {
	if err := b.paused(); err != nil {
		return err
	}
	if err := b.limiter.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the budget of %.3g requests a second for registry %s is used up; ask for less or raise requestsPerSecond",
			float64(b.limiter.Limit()), b.host)
	}
	return b.paused()
}

// paused returns an error while the registry wants to be left alone, and lets the rate recover otherwise.
func (b *budget) paused() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if left := b.until.Sub(now); left > 0 {
		return &RateLimitedError{Host: b.host, After: left}
	}
	if limit := b.limiter.Limit(); limit < b.full && now.Sub(b.moved) >= recoverEvery {
		b.limiter.SetLimit(min(limit*3/2, b.full))
		b.moved = now
	}
	return nil
}

// observe takes note of complaints: 429, and 503 with the wish for a pause.
func (b *budget) observe(resp *http.Response) {
	wish, named := retryAfter(resp.Header.Get("Retry-After"), time.Now())
	if resp.StatusCode != http.StatusTooManyRequests && (resp.StatusCode != http.StatusServiceUnavailable || !named) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if !b.until.After(now) {
		// Requests under way at the same time get the same complaint; it counts once.
		b.limiter.SetLimit(max(b.limiter.Limit()/2, min(budgetFloor, b.full)))
		b.moved = now
	}
	if until := now.Add(wish); until.After(b.until) {
		b.until = until
	}
}

// retryAfter reads the header in both of its forms, within bounds.
func retryAfter(header string, now time.Time) (wish time.Duration, named bool) {
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil {
		wish = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wish = at.Sub(now)
	} else {
		return defaultRetryAfter, false
	}
	return min(max(wish, time.Second), maxRetryAfter), true
}
