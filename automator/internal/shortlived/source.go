// Package shortlived keeps credentials that come from elsewhere until shortly before they end, for everybody who needs them.
//
// Whoever gives them (a cloud, a Git host, a Vault) is asked once for all who wait, and not again at once when it fails.
package shortlived

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
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
	now   func() time.Time

	turn     chan struct{} // holds one token: who asks
	have     Credentials
	failed   error
	again    time.Time // not before then
	refused  time.Time // when somebody found them refused last
	doubted  bool      // have was found refused
	standing atomic.Pointer[Standing]
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
	// pause is how long a failure counts for everybody who asks, and lies between credentials that are found refused.
	pause = 15 * time.Second
	// renewBefore is how long before their end credentials are issued anew; what lives shorter is at half of its life.
	renewBefore = 5 * time.Minute
)

// New returns a source. Its errors name the credentials, such as "credentials of aws for registry.example.com".
func New(name string, issue Issue) *Source {
	return &Source{name: name, issue: issue, now: time.Now, turn: make(chan struct{}, 1)}
}

// Credentials returns credentials that hold for some minutes at least. Who asks while another does waits for the same
// answer; who gives up leaves it to the others. An error is of kind Unavailable if the issuer could not be asked, else of
// kind Unauthorized, and says what the issuer said.
func (s *Source) Credentials(ctx context.Context) (Credentials, error) {
	if err := s.take(ctx); err != nil {
		return Credentials{}, err
	}
	if s.now().Before(s.again) {
		defer s.leave()
		return s.have, s.failed
	}
	answer := make(chan outcome, 1)
	var asking sync.WaitGroup
	asking.Go(func() {
		defer s.leave()
		asked, cancel := context.WithTimeout(context.WithoutCancel(ctx), issueTimeout)
		defer cancel()
		s.renew(asked)
		answer <- outcome{s.have, s.failed}
	})
	select {
	case got := <-answer:
		return got.Credentials, got.err
	case <-ctx.Done():
		return Credentials{}, context.Cause(ctx)
	}
}

type outcome struct {
	Credentials

	err error
}

// Refused takes note that a password was not taken, though it should count still, and reports whether it is worth asking for
// others. Whoever refuses all of them must not have us issue them without end. As long as the issuer cannot be asked the
// same may come again: not everybody who refuses a password means it.
func (s *Source) Refused(ctx context.Context, password string) bool {
	if s.take(ctx) != nil {
		return false
	}
	defer s.leave()
	now := s.now()
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
func (s *Source) Standing() *Standing { return s.standing.Load() }

func (s *Source) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Source) leave() { <-s.turn }

// renew issues credentials. Who calls it has the turn.
func (s *Source) renew(ctx context.Context) {
	now := s.now()
	got, err := s.issue(ctx)
	if err == nil && got.Password == "" {
		err = errors.New("the answer has no token")
	}
	if err == nil {
		s.have, s.failed, s.doubted, s.again = got, nil, false, got.renewal(now)
		s.standing.Store(&Standing{Counts: true})
		return
	}
	err = fault.New(kindOf(err), "%s: %w", s.name, err)
	if !s.stillCounts(now, err) {
		s.have, s.failed = Credentials{}, err
	}
	s.again = s.have.until(now, now.Add(pause))
	s.standing.Store(&Standing{Counts: s.failed == nil, Problem: err})
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

// stillCounts tells whether what there is outlives a failure to replace it. The word of the issuer ends what nothing else ends,
// and what somebody found refused; the word of anybody else ends nothing.
func (s *Source) stillCounts(now time.Time, err error) bool {
	endless := s.have.Expires.IsZero()
	switch {
	case s.have.Password == "", !endless && !now.Before(s.have.Expires):
		return false
	case fault.Is(err, fault.Unavailable), errors.Is(err, ErrUnheard):
		return true
	default:
		return !endless && !s.doubted
	}
}
