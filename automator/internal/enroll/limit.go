package enroll

import (
	"context"
	"net"
	"sync"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/peer"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// How often those may call whom nobody knows yet: tokens cannot be guessed, but every attempt costs a signature check.
const (
	// strangerRate and strangerBurst bound the calls a second from one address.
	strangerRate, strangerBurst = 2, 20
	// everybodyRate and everybodyBurst bound the calls a second of all strangers together.
	everybodyRate, everybodyBurst = 100, 200
	// renewalRate and renewalBurst bound the renewals a second of one cluster, whose replicas may renew at once.
	renewalRate, renewalBurst = 1, 20
	// maxBuckets bounds the addresses and clusters that are told apart; beyond it, newcomers share one bucket.
	maxBuckets = 10_000
)

// limits bounds how often who may call.
type limits struct {
	everybody *rate.Limiter
	strangers *buckets
	renewals  *buckets
}

func newLimits() *limits {
	return &limits{
		everybody: rate.NewLimiter(everybodyRate, everybodyBurst),
		strangers: newBuckets(strangerRate, strangerBurst),
		renewals:  newBuckets(renewalRate, renewalBurst),
	}
}

// stranger lets a call of somebody unknown through, or refuses it. An address that calls too often does not use up what
// all strangers share.
func (l *limits) stranger(ctx context.Context) error {
	if !l.strangers.allow(peerHost(ctx)) || !l.everybody.Allow() {
		return fault.New(fault.Conflict, "too many calls without a certificate; try again in a minute")
	}
	return nil
}

func (l *limits) renewal(id rpc.Identity) error {
	if !l.renewals.allow(id.String()) {
		return fault.New(fault.Conflict, "%s renews its certificate too often; try again in a minute", id)
	}
	return nil
}

// buckets are limiters by name.
type buckets struct {
	mu     sync.Mutex
	limit  rate.Limit
	burst  int
	byName map[string]*rate.Limiter
	shared *rate.Limiter
}

func newBuckets(limit rate.Limit, burst int) *buckets {
	return &buckets{limit: limit, burst: burst, byName: map[string]*rate.Limiter{}, shared: rate.NewLimiter(limit, burst)}
}

func (b *buckets) allow(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	one, ok := b.byName[name]
	if !ok {
		one = b.add(name)
	}
	return one.Allow()
}

// add makes a bucket. Buckets that are full again are those of nobody in particular, and make room.
func (b *buckets) add(name string) *rate.Limiter {
	if len(b.byName) >= maxBuckets {
		for other, one := range b.byName {
			if one.Tokens() >= float64(b.burst) {
				delete(b.byName, other)
			}
		}
	}
	if len(b.byName) >= maxBuckets {
		return b.shared
	}
	one := rate.NewLimiter(b.limit, b.burst)
	b.byName[name] = one
	return one
}

// peerHost is the address that a call comes from, without the port.
func peerHost(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return p.Addr.String()
	}
	return host
}
