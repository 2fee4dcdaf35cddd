// Package shortlived keeps credentials that end by themselves until shortly before they do, for everybody who needs them.
//
// Whoever gives them (a cloud, a Git host, a vault) is asked once for all who wait, and not again at once when it fails.
package shortlived

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
)

// Credentials are a name and a password that count for a while.
type Credentials struct {
	Username, Password string
	// Expires is when they end.
	Expires time.Time
}

// Issue gets new credentials.
type Issue func(ctx context.Context) (Credentials, error)

// Source gives credentials for one place. It is safe for concurrent use.
type Source struct {
	name  string
	issue Issue
	now   func() time.Time

	turn    chan struct{} // holds one token: who asks
	have    Credentials
	failed  error
	again   time.Time // not before then
	refused time.Time // when somebody found them refused last
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
// answer; who gives up leaves it to the others. An error is of kind Unauthorized and says what the issuer said.
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

// Refused takes note that a password was not taken, though it should count still, and reports whether others are to be had
// in its place. Whoever refuses all of them must not have us issue them without end.
func (s *Source) Refused(ctx context.Context, password string) bool {
	if s.take(ctx) != nil {
		return false
	}
	defer s.leave()
	if s.have.Password != password {
		return true
	}
	now := s.now()
	if now.Before(s.refused.Add(pause)) {
		return false
	}
	s.have, s.again, s.refused = Credentials{}, time.Time{}, now
	return true
}

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
	if err == nil && (got.Username == "" || got.Password == "") {
		err = errors.New("the answer has no token")
	}
	if err == nil {
		s.have, s.failed = got, nil
		s.again = later(got.Expires.Add(-min(renewBefore, got.Expires.Sub(now)/2)), now.Add(pause))
		return
	}
	s.again = now.Add(pause)
	if now.Before(s.have.Expires) {
		return // they still count
	}
	s.have = Credentials{}
	s.failed = fault.New(fault.Unauthorized, "%s: %w", s.name, err)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
