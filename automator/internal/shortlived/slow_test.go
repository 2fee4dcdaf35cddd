package shortlived_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
)

// slowIssuer takes a while for each answer, and gives up when who asked does.
type slowIssuer struct {
	fakeIssuer

	takes atomic.Int64 // a time.Duration
}

func (s *slowIssuer) issue(ctx context.Context) (shortlived.Credentials, error) {
	select {
	case <-time.After(time.Duration(s.takes.Load())):
		return s.fakeIssuer.issue(ctx)
	case <-ctx.Done():
		s.asked.Add(1)
		return shortlived.Credentials{}, ctx.Err()
	}
}

// slowly returns a source of an issuer that was quick once, and becomes slow.
func slowly(t *testing.T, life, takes time.Duration) (issuer *slowIssuer, source *shortlived.Source, first string) {
	t.Helper()
	issuer = &slowIssuer{fakeIssuer: fakeIssuer{life: life}}
	source = shortlived.New("credentials of the test", issuer.issue)
	got, err := source.Credentials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	issuer.takes.Store(int64(takes))
	return issuer, source, got.Password
}

// gives checks what a source gives, and after how long.
func gives(t *testing.T, source *shortlived.Source, password string, after time.Duration) {
	t.Helper()
	began := time.Now()
	got, err := source.Credentials(t.Context())
	if err != nil || got.Password != password || time.Since(began) != after {
		t.Errorf("Credentials: %+v, %v after %s; want %s after %s", got, err, time.Since(began), password, after)
	}
}

// TestWhatCountsIsUsedWhileTheIssuerIsSlow has the first who asks wait for a moment, nobody else at all, and everybody have the
// answer once it is there.
func TestWhatCountsIsUsedWhileTheIssuerIsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer, source, first := slowly(t, time.Hour, 5*time.Second)
		<-time.After(time.Hour - shortlived.RenewBefore)
		gives(t, source, first, shortlived.Patience)
		gives(t, source, first, 0)
		var together sync.WaitGroup
		for range 10 {
			together.Go(func() { gives(t, source, first, 0) })
		}
		together.Wait()
		<-time.After(5*time.Second - shortlived.Patience)
		synctest.Wait()
		gives(t, source, "token-2", 0)
		if n := issuer.asked.Load(); n != 2 {
			t.Errorf("%d issues, want one for all", n)
		}
	})
}

// TestAnIssuerThatHangs is left alone for a while after it was given up, and waited for in each new ask once.
func TestAnIssuerThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer, source, first := slowly(t, time.Hour, time.Hour)
		<-time.After(time.Hour - shortlived.RenewBefore)
		for asks := range int32(3) {
			gives(t, source, first, shortlived.Patience)
			<-time.After(shortlived.IssueTimeout - shortlived.Patience)
			synctest.Wait()
			standing := source.Standing()
			if !standing.Counts || !fault.Is(standing.Problem, fault.Unavailable) || issuer.asked.Load() != asks+2 {
				t.Fatalf("after %d issues it stands %+v", issuer.asked.Load(), standing)
			}
			<-time.After(shortlived.Pause - time.Nanosecond)
			gives(t, source, first, 0)
			<-time.After(time.Nanosecond)
		}
		<-time.After(shortlived.RenewBefore)
		if got, err := source.Credentials(t.Context()); !fault.Is(err, fault.Unavailable) {
			t.Errorf("after their end: %+v, %v", got, err)
		}
	})
}

// TestWhoHasNothingThatCountsWaits for as long as the issuer takes.
func TestWhoHasNothingThatCountsWaits(t *testing.T) {
	t.Parallel()
	const takes = 20 * time.Second
	for name, tc := range map[string]struct {
		life, asks time.Duration // how long the first live, and when others are asked for
		refused    bool
	}{
		"Ended":        {life: time.Hour, asks: time.Hour},
		"EndsMeantime": {life: shortlived.Pause + shortlived.Patience, asks: shortlived.Pause},
		"Refused":      {life: time.Hour, asks: time.Minute, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, source, first := slowly(t, tc.life, takes)
				<-time.After(tc.asks)
				if tc.refused && !source.Refused(first) {
					t.Fatal("no others are promised")
				}
				gives(t, source, "token-2", takes)
			})
		})
	}
}

// TestWhatIsFoundRefusedMeantime has whoever found it refused wait for the answer to the ask that others began.
func TestWhatIsFoundRefusedMeantime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		issuer, source, first := slowly(t, time.Hour, 5*time.Second)
		<-time.After(time.Hour - shortlived.RenewBefore)
		gives(t, source, first, shortlived.Patience)
		for range 2 {
			if !source.Refused(first) {
				t.Error("no others are promised, though they are asked for")
			}
		}
		gives(t, source, "token-2", 5*time.Second-shortlived.Patience)
		if n := issuer.asked.Load(); n != 2 {
			t.Errorf("%d issues, want one for all", n)
		}
	})
}

// TestAnAnswerFromBeforeARefusal brings what was refused once more: it was read before it was changed. It is asked for again,
// and not endlessly.
func TestAnAnswerFromBeforeARefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, takes := 0, time.Duration(0)
		source := shortlived.New("credentials of the test", func(context.Context) (shortlived.Credentials, error) {
			asked++
			<-time.After(takes)
			return shortlived.Credentials{Password: "same", Renew: time.Now().Add(time.Minute)}, nil
		})
		gives(t, source, "same", 0)
		takes = 5 * time.Second
		<-time.After(time.Minute)
		gives(t, source, "same", shortlived.Patience)
		if !source.Refused("same") {
			t.Fatal("no others are promised")
		}
		gives(t, source, "same", takes-shortlived.Patience)
		gives(t, source, "same", takes)
		gives(t, source, "same", 0)
		if asked != 3 {
			t.Errorf("%d issues, want one more than before", asked)
		}
	})
}
