package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// inInbox runs a test with an inbox and what it has passed on since it was asked last.
func inInbox(t *testing.T, test func(b *inbox, passed func() []string)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newInbox()
		var mu sync.Mutex
		var hints []string
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			err := b.run(ctx, func(k key, tag string) {
				mu.Lock()
				defer mu.Unlock()
				hints = append(hints, k.repository+":"+tag)
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("run(...): %v", err)
			}
		})
		test(b, func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			taken := hints
			hints = nil
			return taken
		})
		cancel()
		wg.Wait()
	})
}

func TestHintsGoAtOnceInOrder(t *testing.T) {
	inInbox(t, func(b *inbox, passed func() []string) {
		for _, tag := range []string{"1.0.0", "1.0", "1", "1.0"} {
			b.put(key{repository: "api"}, tag)
		}
		b.put(key{repository: "api"}, "")
		b.put(key{repository: "api"}, "2.0.0")
		if diff := cmp.Diff([]string{"api:1.0.0", "api:1.0", "api:1", "api:"}, passed()); diff != "" {
			t.Errorf("-want, +got:\n%s", diff)
		}
		b.put(key{repository: "api"}, "1.0")
		if diff := cmp.Diff([]string{"api:1.0"}, passed()); diff != "" {
			t.Errorf("a hint that was passed on may come again: -want, +got:\n%s", diff)
		}
	})
}

func TestAStormOfHintsIsPacedAndCoalesced(t *testing.T) {
	inInbox(t, func(b *inbox, passed func() []string) {
		for range 1000 {
			b.put(key{repository: "api"}, "latest")
			passed()
		}
		<-time.After(time.Second)
		if n := len(passed()); n > hintRate {
			t.Errorf("%d hints in a second of a storm", n)
		}
		b.put(key{repository: "web"}, "1.0.0")
		if diff := cmp.Diff([]string{"web:1.0.0"}, passed()); diff != "" {
			t.Errorf("another repository should not wait: -want, +got:\n%s", diff)
		}
		<-time.After(time.Minute)
		passed()
		b.put(key{repository: "api"}, "last")
		if diff := cmp.Diff([]string{"api:last"}, passed()); diff != "" {
			t.Errorf("after the storm: -want, +got:\n%s", diff)
		}
	})
}

func TestTheLastHintOfAStormIsNotLost(t *testing.T) {
	inInbox(t, func(b *inbox, passed func() []string) {
		for range 100 {
			b.put(key{repository: "api"}, "latest")
			passed()
		}
		b.put(key{repository: "api"}, "last")
		<-time.After(5 * time.Second)
		got := passed()
		if len(got) == 0 || got[len(got)-1] != "api:last" {
			t.Errorf("passed on: %v", got)
		}
	})
}

func TestTooManyTagsBecomeAny(t *testing.T) {
	inInbox(t, func(b *inbox, passed func() []string) {
		for n := range hintBurst + maxWaiting + 50 {
			b.put(key{repository: "api"}, fmt.Sprint(n))
			if n == hintBurst-1 {
				passed()
			}
		}
		<-time.After(5 * time.Second)
		got := passed()
		if got[len(got)-1] != "api:" || len(got) > 3 {
			t.Errorf("passed on: %v", got)
		}
	})
}

func TestSlotsGo(t *testing.T) {
	inInbox(t, func(b *inbox, passed func() []string) {
		for n := range 100 {
			b.put(key{repository: fmt.Sprint(n)}, "1")
		}
		passed()
		<-time.After(2 * idle)
		passed()
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.slots) != 0 {
			t.Errorf("%d slots are left", len(b.slots))
		}
	})
}
