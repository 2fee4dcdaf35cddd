// Package shortlived keeps credentials that come from elsewhere until shortly before they end, for everybody who needs them.
//
// Whoever gives them (a cloud, a Git host, a Vault) is asked once for all who wait, and not again at once when it fails.
package shortlived

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/instant"
)

// Credentials are a name and a password that count for a while.
type Credentials struct {
	// Username is empty where whoever uses them knows it.
	Username, Password string
	// Expires is when they end; zero where nobody can say. Those count as long as their issuer cannot be asked.
	Expires time.Time
	// Renew is when they are to be issued anew; zero leaves it to the source, which goes by Expires.
	Renew time.Time
}

// Issue gets new credentials.
type Issue func(ctx context.Context) (Credentials, error)

// Source gives credentials for one place. It is safe for concurrent use.
type Source struct {
	name  string
	issue Issue

	mu       sync.Mutex
	asked    *ask // in flight; nil for none
	have     Credentials
	failed   error
	again    time.Time // not before then
	refused  time.Time // when somebody found them refused last
	doubted  bool      // have was found refused
	standing *Standing
}

// ask is one question to the issuer, for everybody who waits for its answer.
type ask struct {
	began time.Time
	ended chan struct{} // closed once the rest is there
	got   Credentials
	err   error
}

// Standing is how a source stands after it asked last.
type Standing struct {
	// Counts is whether there are credentials that count.
	Counts bool
	// Problem is why there are no newer ones; nil where nothing went wrong.
	Problem error
}

const (
	// issueTimeout bounds one issue.
	issueTimeout = 30 * time.Second
	// patience is how long newer credentials are waited for, from when they were asked for, while there are some that count.
	patience = time.Second
	// pause is how long a failure counts for everybody who asks, and lies between credentials that are found refused.
	pause = 15 * time.Second
	// renewBefore is how long before their end credentials are issued anew; what lives shorter is at half of its life.
	renewBefore = 5 * time.Minute
)

// New returns a source. Its errors name the credentials, such as "credentials of aws for registry.example.com".
func New(name string, issue Issue) *Source { return &Source{name: name, issue: issue} }

// Credentials returns credentials that hold for some minutes at least, if there are any. Who asks while another does waits for
// the same answer; who gives up leaves it to the others. Where there are some that count, and that nobody found refused, an
// issuer that hangs is waited for no longer than a second, and gives the newer ones to whoever asks after its answer. An error
// is of kind Unavailable if the issuer could not be asked, else of kind Unauthorized, and says what the issuer said.
func (s *Source) Credentials(ctx context.Context) (Credentials, error) {
	s.mu.Lock()
	now := time.Now()
	if now.Before(s.again) {
		defer s.mu.Unlock()
		return s.have, s.failed
	}
	if s.asked == nil {
		s.ask(ctx, now)
	}
	asked, kept, enough := s.asked, s.have, s.enough(now)
	s.mu.Unlock()
	select {
	case <-asked.ended:
		return asked.got, asked.err
	case <-enough:
		return kept, nil
	case <-ctx.Done():
		return Credentials{}, context.Cause(ctx)
	}
}

// ask asks the issuer beside everybody. Who calls it holds the lock.
func (s *Source) ask(ctx context.Context, now time.Time) {
	asked := &ask{began: now, ended: make(chan struct{})}
	s.asked = asked
	var asking sync.WaitGroup // for nobody: it ends within issueTimeout
	asking.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), issueTimeout)
		defer cancel()
		got, err := s.issue(ctx)
		s.settle(asked, got, err)
	})
}

// enough tells when there is no use in waiting on for the ask in flight; never (nil) for who has nothing that counts beyond that.
// Who calls it holds the lock.
func (s *Source) enough(now time.Time) <-chan time.Time {
	end := instant.Later(now, s.asked.began.Add(patience))
	if s.have.Password == "" || s.doubted || !s.have.countAt(end) {
		return nil
	}
	return time.After(end.Sub(now))
}

// Refused takes note that a password was not taken, though it should count still, and reports whether it is worth asking for
// others. Whoever refuses all of them must not have us issue them without end. As long as the issuer cannot be asked the
// same may come again: not everybody who refuses a password means it.
func (s *Source) Refused(password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.have.Password != password, s.again.IsZero():
		return true
	case now.Before(s.refused.Add(pause)):
		return false
	}
	s.again, s.refused, s.doubted = time.Time{}, now, true
	return true
}

// Standing returns how it stands, without waiting for anybody; nil before it was asked for anything.
func (s *Source) Standing() *Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.standing == nil {
		return nil
	}
	standing := *s.standing
	return &standing
}

// settle takes what came of an ask, and tells who waits for it.
func (s *Source) settle(asked *ask, got Credentials, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if err == nil && got.Password == "" {
		err = errors.New("the answer has no token")
	}
	if err == nil {
		s.replace(asked, got, now)
	} else {
		s.keep(err, now)
	}
	s.asked, asked.got, asked.err = nil, s.have, s.failed
	close(asked.ended)
}

// replace takes new credentials. What was found refused while it was asked for may have been read before it was changed, and
// is asked for once more.
func (s *Source) replace(asked *ask, got Credentials, now time.Time) {
	stale := got.Password == s.have.Password && s.refused.After(asked.began)
	s.have, s.failed, s.doubted, s.again = got, nil, stale, got.renewal(now)
	if stale {
		s.again = time.Time{}
	}
	s.standing = &Standing{Counts: true}
}

// keep keeps what there is, if it outlives the failure to replace it.
func (s *Source) keep(err error, now time.Time) {
	err = fault.New(kindOf(err), "%s: %w", s.name, err)
	if !s.outlives(err, now) {
		s.have, s.failed = Credentials{}, err
	}
	s.again = s.have.until(now, now.Add(pause))
	s.standing = &Standing{Counts: s.failed == nil, Problem: err}
}

// renewal is when to issue others, seen from now: not before a pause, but at their end.
func (c Credentials) renewal(now time.Time) time.Time {
	at := c.Renew
	if at.IsZero() {
		at = c.Expires.Add(-min(renewBefore, c.Expires.Sub(now)/2))
	}
	return c.until(now, instant.Later(at, now.Add(pause)))
}

// until is the earlier of a time and their end, if that is still to come: what was issued with an end in the past says that
// the clocks differ.
func (c Credentials) until(now, at time.Time) time.Time {
	if c.Expires.After(now) && c.Expires.Before(at) {
		return c.Expires
	}
	return at
}

// countAt tells whether they have not ended by then.
func (c Credentials) countAt(then time.Time) bool {
	return c.Expires.IsZero() || then.Before(c.Expires)
}

// outlives tells whether what there is outlives a failure to replace it. The word of the issuer ends what nothing else ends,
// and what somebody found refused; the word of anybody else ends nothing.
func (s *Source) outlives(err error, now time.Time) bool {
	switch {
	case s.have.Password == "", !s.have.countAt(now):
		return false
	case fault.Is(err, fault.Unavailable), errors.Is(err, ErrUnheard):
		return true
	default:
		return !s.have.Expires.IsZero() && !s.doubted
	}
}
