package drift_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/synchronizer/internal/drift"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

var (
	web   = object.Key{Kind: "ConfigMap", Namespace: "shop", Name: "web"}
	began = time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	field = drift.Finding{Fields: []drift.Field{{Path: ".data.a", Pointer: "/data/a", Says: "differs"}}}
)

func always(object.Key) bool { return true }
func never(object.Key) bool  { return false }

// undone heals an object and has that undone at once, as often as is said.
func undone(f *drift.Fights, times int, now time.Time) time.Time {
	for range times {
		f.Healed(web, now, field, nil)
		f.Look(now, never)
		now = now.Add(time.Second)
		f.Look(now, always)
	}
	return now
}

func TestAFightIsFoundAndDamped(t *testing.T) {
	t.Parallel()
	var f drift.Fights
	now := undone(&f, drift.FightAfter-1, began)
	if due := f.Due(web); due.After(now) || len(f.List()) > 0 {
		t.Fatalf("after %d heals: due %s, %v", drift.FightAfter-1, due, f.List())
	}
	now = undone(&f, 1, now)
	if diff := cmp.Diff([]drift.Fight{{Key: web, Paths: []string{".data.a"}, Pointers: []string{"/data/a"}, New: true}}, f.List()); diff != "" {
		t.Errorf("List(): -want, +got:\n%s", diff)
	}
	if list := f.List(); len(list) != 1 || list[0].New {
		t.Errorf("listed again: %+v", list)
	}
	for _, pause := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute} {
		due := f.Due(web)
		if got := due.Sub(now.Add(-time.Second)); got != pause {
			t.Errorf("rests for %s, want %s", got, pause)
		}
		now = undone(&f, 1, due)
	}
}

func TestAFightEndsByItself(t *testing.T) {
	t.Parallel()
	var f drift.Fights
	now := undone(&f, drift.FightAfter, began)
	f.Healed(web, now, field, nil)
	end := f.Look(now, never)
	if !end.Equal(now.Add(drift.Quiet)) || len(f.List()) != 1 {
		t.Fatalf("ends at %s, %v", end, f.List())
	}
	if next := f.Look(end, never); !next.IsZero() || len(f.List()) > 0 {
		t.Errorf("at its end: next %s, %v", next, f.List())
	}
	if due := f.Due(web); !due.IsZero() {
		t.Errorf("then due at %s", due)
	}
}

func TestChangesThatAreNoFight(t *testing.T) {
	t.Parallel()
	t.Run("Seldom", func(t *testing.T) {
		t.Parallel()
		var f drift.Fights
		now := began
		for range 2 * drift.FightAfter {
			now = undone(&f, 1, now)
			f.Look(now, never)
			now = now.Add(drift.Quiet)
			f.Look(now, never)
		}
		if len(f.List()) > 0 {
			t.Errorf("got %v", f.List())
		}
	})
	t.Run("OtherFields", func(t *testing.T) {
		t.Parallel()
		var f drift.Fights
		for i := range 2 * drift.FightAfter {
			f.Healed(web, began, drift.Finding{Fields: []drift.Field{{Path: fmt.Sprint(".data.", i)}}}, nil)
			f.Look(began, always)
		}
		if len(f.List()) > 0 {
			t.Errorf("got %v", f.List())
		}
	})
	t.Run("Forgotten", func(t *testing.T) {
		t.Parallel()
		var f drift.Fights
		undone(&f, drift.FightAfter, began)
		f.Forget(web)
		if len(f.List()) > 0 || !f.Due(web).IsZero() {
			t.Errorf("got %v", f.List())
		}
	})
}

// Where nobody looked into what had changed, the writers are who is known.
func TestAFightOfUnknownFields(t *testing.T) {
	t.Parallel()
	var f drift.Fights
	for range drift.FightAfter {
		f.Healed(web, began, drift.Finding{}, []string{"operator"})
	}
	f.Look(began, always)
	if diff := cmp.Diff([]drift.Fight{{Key: web, Managers: []string{"operator"}, New: true}}, f.List()); diff != "" {
		t.Errorf("List(): -want, +got:\n%s", diff)
	}
}

func TestFightsAreBounded(t *testing.T) {
	t.Parallel()
	var f drift.Fights
	first := undone(&f, drift.FightAfter, began)
	for i := range drift.MaxFights {
		key := web
		key.Name = fmt.Sprint(i)
		f.Healed(key, first.Add(time.Duration(i)), drift.Finding{}, nil)
	}
	f.Look(first, always)
	if len(f.List()) > 0 {
		t.Error("the oldest one is still remembered")
	}
	newest := web
	newest.Name = fmt.Sprint(drift.MaxFights - 1)
	for range drift.FightAfter - 1 {
		f.Healed(newest, first.Add(time.Hour), drift.Finding{}, nil)
	}
	f.Look(first, always)
	if list := f.List(); len(list) != 1 || list[0].Key != newest {
		t.Errorf("got %v", list)
	}
}
