package drift

import (
	"slices"
	"time"

	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

const (
	// FightAfter is how many heals of an object in a row must be undone before somebody is taken to fight for it.
	FightAfter = 5
	// Quiet is how long a heal must last to be the last one: an object that differs again later was changed anew, and a fight
	// in which nobody undoes anything for so long is over.
	Quiet = 10 * time.Minute
	// FirstPause is how long an object that is fought for rests before it is healed again, at first; the pause doubles with
	// each heal that is undone, up to MaxPause.
	FirstPause = 15 * time.Second
	// MaxPause bounds the pause.
	MaxPause = 10 * time.Minute
	// MaxFights bounds the objects of a Sync whose heals are remembered; the one that was healed first is forgotten first.
	MaxFights = 4096
)

// Fights remember the heals of a Sync's objects and which of them were undone. The zero value remembers none. It is not safe
// for concurrent use.
type Fights struct{ of map[object.Key]*fight }

// fight is what is remembered of an object.
type fight struct {
	rounds   int       // heals in a row of the same fields
	healed   time.Time // the last one
	calm     time.Time // since when nothing differs; zero while something does
	paths    []string  // of the last heal; nil when nobody looked
	pointers []string
	managers []string
	on, told bool // whether FightAfter heals were undone, and whether it was listed
}

// Fight is an object whose heals are undone again and again.
type Fight struct {
	Key object.Key
	// Managers are who undoes them, and Paths where; nil when nobody looked. Pointers are those of the paths that the
	// annotation tandem.dev/ignore can name.
	Managers, Paths, Pointers []string
	// New says that it was not listed before.
	New bool
}

// Due returns when an object that differs may be healed: a time in the past, unless it is fought for.
func (f *Fights) Due(key object.Key) time.Time {
	o := f.of[key]
	if o == nil || o.rounds < FightAfter {
		return time.Time{}
	}
	return o.healed.Add(pause(o.rounds - FightAfter))
}

// pause is how long an object rests after a number of further heals was undone.
func pause(rounds int) time.Duration {
	wait := FirstPause
	for range rounds {
		if wait *= 2; wait >= MaxPause {
			return MaxPause
		}
	}
	return wait
}

// Healed takes note that an object that differed was put right, what had differed, and who had written to it if nobody
// looked.
func (f *Fights) Healed(key object.Key, now time.Time, what Finding, writers []string) {
	if f.of == nil {
		f.of = map[object.Key]*fight{}
	}
	o := f.of[key]
	if o == nil || !o.goesOn(what.Paths()) {
		f.makeRoom(key)
		o = &fight{}
		f.of[key] = o
	}
	o.rounds, o.healed, o.calm = o.rounds+1, now, time.Time{}
	o.managers = writers
	if !what.IsZero() {
		o.managers, o.paths, o.pointers = what.Managers(), what.Paths(), what.pointers()
	}
}

// goesOn reports whether a heal of some paths is of the same fight.
func (o *fight) goesOn(paths []string) bool {
	if len(paths) == 0 || len(o.paths) == 0 {
		return true
	}
	return slices.ContainsFunc(paths, func(p string) bool { return slices.Contains(o.paths, p) })
}

func (f Finding) pointers() []string {
	var pointers []string
	for _, field := range f.Fields {
		if field.Pointer != "" {
			pointers = append(pointers, field.Pointer)
		}
	}
	return pointers
}

// makeRoom forgets the object that was healed first when there are too many.
func (f *Fights) makeRoom(key object.Key) {
	if _, known := f.of[key]; known || len(f.of) < MaxFights {
		return
	}
	var first object.Key
	for other, o := range f.of {
		if first == (object.Key{}) || o.healed.Before(f.of[first].healed) {
			first = other
		}
	}
	delete(f.of, first)
}

// Forget ends what is remembered of an object: Git says something else of it, or nobody heals it any more.
func (f *Fights) Forget(key object.Key) { delete(f.of, key) }

// Look takes note of which objects differ now, and forgets those that have been left alone for long enough. It returns when
// the next fight ends if nobody does anything; zero when none does by itself.
func (f *Fights) Look(now time.Time, differs func(object.Key) bool) (next time.Time) {
	for key, o := range f.of {
		switch {
		case differs(key):
			o.calm, o.on = time.Time{}, o.on || o.rounds >= FightAfter
			continue
		case o.calm.IsZero():
			o.calm = now
		case now.Sub(o.calm) >= Quiet:
			delete(f.of, key)
			continue
		}
		if end := o.calm.Add(Quiet); o.on && (next.IsZero() || end.Before(next)) {
			next = end
		}
	}
	return next
}

// List returns the objects that are fought for, in the order of their keys.
func (f *Fights) List() []Fight {
	var list []Fight
	for key, o := range f.of {
		if !o.on {
			continue
		}
		list = append(list, Fight{Key: key, Managers: o.managers, Paths: o.paths, Pointers: o.pointers, New: !o.told})
		o.told = true
	}
	slices.SortFunc(list, func(a, b Fight) int { return a.Key.Compare(b.Key) })
	return list
}
