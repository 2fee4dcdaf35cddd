package shortlived_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
)

// fakeIssuer gives credentials for an hour, or what fails.
type fakeIssuer struct {
	asked atomic.Int32
	life  time.Duration
	err   atomic.Pointer[error]
}

func (f *fakeIssuer) issue(context.Context) (shortlived.Credentials, error) {
	number := f.asked.Add(1)
	if err := f.err.Load(); err != nil {
		return shortlived.Credentials{}, *err
	}
	return shortlived.Credentials{Username: "user", Password: fmt.Sprintf("token-%d", number), Expires: time.Now().Add(f.life)}, nil
}

func (f *fakeIssuer) fail(err error) { f.err.Store(&err) }

func (f *fakeIssuer) source() *shortlived.Source {
	return shortlived.New("credentials of the test", f.issue)
}

func TestCredentialsAreKeptUntilShortlyBeforeTheirEnd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ life, fresh, stale time.Duration }{
		"Long":  {time.Hour, 54 * time.Minute, 56 * time.Minute},
		"Short": {2 * time.Minute, 50 * time.Second, 70 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := &fakeIssuer{life: tc.life}
				source := issuer.source()
				var together sync.WaitGroup
				for range 10 {
					together.Go(func() {
						if got, err := source.Credentials(t.Context()); err != nil || !strings.HasPrefix(got.Password, "token") {
							t.Errorf("Credentials: %+v, %v", got, err)
						}
					})
				}
				together.Wait()
				<-time.After(tc.fresh)
				if _, err := source.Credentials(t.Context()); err != nil || issuer.asked.Load() != 1 {
					t.Errorf("%d issues, error %v; want one for all", issuer.asked.Load(), err)
				}
				<-time.After(tc.stale - tc.fresh)
				if _, err := source.Credentials(t.Context()); err != nil || issuer.asked.Load() != 2 {
					t.Errorf("%d issues, error %v; want another shortly before the end", issuer.asked.Load(), err)
				}
			})
		})
	}
}

func TestAFailureCountsForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := &fakeIssuer{life: time.Hour}
		issuer.fail(errors.New("no role"))
		source := issuer.source()
		for range 5 {
			_, err := source.Credentials(t.Context())
			if !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), "no role") || !strings.Contains(err.Error(), "of the test") {
				t.Fatalf("Credentials: %v, want what failed, for whom", err)
			}
		}
		if issuer.asked.Load() != 1 {
			t.Errorf("%d issues within the pause, want 1", issuer.asked.Load())
		}
		issuer.err.Store(nil)
		<-time.After(shortlived.Pause)
		if _, err := source.Credentials(t.Context()); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

func TestWhatStillCountsOutlivesAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := &fakeIssuer{life: time.Hour}
		source := issuer.source()
		if _, err := source.Credentials(t.Context()); err != nil {
			t.Fatal(err)
		}
		issuer.fail(errors.New("down"))
		<-time.After(time.Hour - shortlived.RenewBefore)
		if got, err := source.Credentials(t.Context()); err != nil || !strings.HasPrefix(got.Password, "token") {
			t.Errorf("a renewal that fails early: %+v, %v; want what still counts", got, err)
		}
		<-time.After(shortlived.RenewBefore)
		if got, err := source.Credentials(t.Context()); err == nil {
			t.Errorf("after their end: %+v, want an error", got)
		}
	})
}

// TestNothingIsUsedBeyondItsEnd asks every second for what ends sooner than a pause, and for what ends within the pause after a
// failure.
func TestNothingIsUsedBeyondItsEnd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		life  time.Duration
		fails bool
		asked int32
	}{
		"ShorterThanAPause": {life: 4 * time.Second, asked: 16},
		"AfterAFailure":     {life: 40 * time.Second, fails: true, asked: 6},
		"HasEnded":          {life: -time.Hour, asked: 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := &fakeIssuer{life: tc.life}
				source := issuer.source()
				for range 61 {
					got, err := source.Credentials(t.Context())
					if tc.life > 0 && err == nil && !time.Now().Before(got.Expires) {
						t.Fatalf("Credentials: %+v at %v", got, time.Now())
					}
					if tc.fails {
						issuer.fail(errors.New("down"))
					}
					<-time.After(time.Second)
				}
				if n := issuer.asked.Load(); n > tc.asked {
					t.Errorf("%d issues in a minute, want at most %d", n, tc.asked)
				}
			})
		})
	}
}

func TestWhoGivesUpTakesNothingFromOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		source := shortlived.New("", func(ctx context.Context) (shortlived.Credentials, error) {
			select {
			case <-answer:
				return shortlived.Credentials{Username: "user", Password: "token", Expires: time.Now().Add(time.Hour)}, nil
			case <-ctx.Done():
				return shortlived.Credentials{}, ctx.Err()
			}
		})
		impatient, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		gone := make(chan struct{})
		asking.Go(func() {
			defer close(gone)
			if _, err := source.Credentials(impatient); !errors.Is(err, context.Canceled) {
				t.Errorf("who gives up: %v", err)
			}
		})
		synctest.Wait()
		asking.Go(func() {
			if _, err := source.Credentials(t.Context()); err != nil {
				t.Errorf("who waits: %v", err)
			}
		})
		cancel()
		<-gone
		synctest.Wait()
		close(answer)
		asking.Wait()
	})
}

func TestRefusedCredentialsAreIssuedAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer := &fakeIssuer{life: time.Hour}
		source := issuer.source()
		issued := func() string {
			t.Helper()
			got, err := source.Credentials(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return got.Password
		}
		first := issued()
		for range 2 {
			if !source.Refused(first) {
				t.Error("no others are promised to both who found the same refused")
			}
		}
		second := issued()
		if first == second || issuer.asked.Load() != 2 {
			t.Errorf("%d issues, %q after %q", issuer.asked.Load(), second, first)
		}
		if source.Refused(second) {
			t.Error("others are promised again at once")
		}
		<-time.After(shortlived.Pause)
		issuer.fail(errors.New("down"))
		if !source.Refused(second) {
			t.Error("no others are promised after a while")
		}
		if got, err := source.Credentials(t.Context()); err == nil {
			t.Errorf("Credentials: %+v, want what was refused forgotten", got)
		}
	})
}

// TestAnIssuerThatCannotBeAsked tells it from one that says no: what nobody has set an end for counts on.
func TestAnIssuerThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	away, no, other := fault.New(fault.Unavailable, "down"), errors.New("no such secret"), shortlived.Unheard(errors.New("no Vault"))
	for name, tc := range map[string]struct {
		endless, refused bool
		err              error
		counts           bool
	}{
		"EndlessAway":        {endless: true, err: away, counts: true},
		"EndlessAwayRefused": {endless: true, refused: true, err: away, counts: true},
		"EndlessNo":          {endless: true, err: no},
		"EndlessOther":       {endless: true, err: other, counts: true},
		"EndlessRefused":     {endless: true, refused: true, err: other, counts: true},
		"EndingOtherRefused": {refused: true, err: other, counts: true},
		"EndingAwayRefused":  {refused: true, err: away, counts: true},
		"EndingNo":           {err: no, counts: true},
		"EndingNoRefused":    {refused: true, err: no},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issuer := &fakeIssuer{life: time.Hour}
				source := shortlived.New("credentials of the test", func(ctx context.Context) (shortlived.Credentials, error) {
					got, err := issuer.issue(ctx)
					got.Renew = time.Now().Add(time.Minute)
					if tc.endless {
						got.Expires = time.Time{}
					}
					return got, err
				})
				first, err := source.Credentials(t.Context())
				if standing := source.Standing(); err != nil || !standing.Counts || standing.Problem != nil {
					t.Fatalf("Credentials: %v, standing %+v", err, standing)
				}
				issuer.fail(tc.err)
				<-time.After(30 * time.Minute)
				if tc.refused && !source.Refused(first.Password) {
					t.Fatal("nothing else is promised")
				}
				got, err := source.Credentials(t.Context())
				standing := source.Standing()
				if (got.Password == first.Password) != tc.counts || (err == nil) != tc.counts || standing.Counts != tc.counts {
					t.Errorf("Credentials: %+v, %v, standing %+v; does it count: want %v", got, err, standing, tc.counts)
				}
				if kind := fault.KindOf(standing.Problem); kind != map[bool]fault.Kind{true: fault.Unavailable, false: fault.Unauthorized}[errors.Is(tc.err, away)] {
					t.Errorf("the problem is of kind %s: %v", kind, standing.Problem)
				}
				issuer.err.Store(nil)
				<-time.After(shortlived.Pause)
				if got, err := source.Credentials(t.Context()); err != nil || got.Password == first.Password || source.Standing().Problem != nil {
					t.Errorf("when it can be asked again: %+v, %v", got, err)
				}
			})
		})
	}
}

func TestAnIssuerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := shortlived.New("credentials of the test", func(ctx context.Context) (shortlived.Credentials, error) {
			<-ctx.Done()
			return shortlived.Credentials{}, ctx.Err()
		})
		if _, err := source.Credentials(t.Context()); !fault.Is(err, fault.Unavailable) {
			t.Errorf("Credentials: %v, want kind Unavailable", err)
		}
	})
}
