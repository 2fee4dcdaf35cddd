package lease

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestLook(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		look := func() (Record, bool, time.Duration) {
			began := time.Now()
			seen, lives, err := Look(t.Context(), s.lease.of("doctor")[0])
			if err != nil {
				t.Fatal(err)
			}
			return seen, lives, time.Since(began)
		}
		if seen, lives, _ := look(); lives || seen.Holder != "" {
			t.Errorf("before anybody: %+v lives: %t", seen, lives)
		}
		a := s.start("a", 0)
		s.pass(time.Minute)
		seen, lives, took := look()
		if !lives || seen.Holder != "a" || took > 3*a.holder.every() {
			t.Errorf("while a works: %+v lives: %t, after %s", seen, lives, took)
		}
		s.lease.cutOff("a", true)
		seen, lives, took = look()
		if lives || seen.Holder != "a" || took < a.holder.cfg.Duration {
			t.Errorf("when a is silent: %+v lives: %t, after %s", seen, lives, took)
		}
		s.start("b", 0)
		s.pass(time.Minute)
		if seen, lives, _ := look(); !lives || seen.Holder != "b" {
			t.Errorf("when b has taken over: %+v lives: %t", seen, lives)
		}
	})
}

func TestLookEnds(t *testing.T) {
	story(t, func(t *testing.T, s *stage) {
		s.lease.fails = func(int) error { return errBoom }
		if _, lives, err := Look(t.Context(), s.lease.of("doctor")[0]); lives || !errors.Is(err, errBoom) {
			t.Errorf("of a Lease that cannot be read: %t, %v", lives, err)
		}
		s.lease.fails = nil
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, lives, err := Look(ctx, s.lease.of("doctor")[0]); lives || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a deadline: %t, %v", lives, err)
		}
	})
}
