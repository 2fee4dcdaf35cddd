package scan

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/shared/instant"
)

// maxHints bounds the hints that wait for one repository. Beyond it a look takes their place.
const maxHints = 100

// repository is what the scanner knows of one image repository. The scanner's lock guards all of it but saving.
type repository struct {
	name   string
	host   string
	moving []string

	loaded bool // from the cache
	busy   bool // a load or a look is under way
	looked bool // by this process
	urgent bool // a hint came that only a look can answer
	failed int  // looks in a row
	next   time.Time
	hints  map[string]*hint // nil until there is one
	news   time.Time        // when a tag came or moved, after the first complete list; zero for not since

	inspections map[string]*inspection // nil until there is one

	scan      store.Scan
	known     map[string]store.Tag
	confirmed map[string]time.Time // when the registry answered for a tag alone, unless a complete list began since; nil until it did
	dirty     map[string]bool      // tags that the cache does not have like this; nil until there is one

	listed, gone []policy.Tag // known, as policies want it, by name
	stale        bool         // they have to be made anew

	saving chan struct{} // holds one token: who writes to the cache
}

// hint is a tag that somebody said something about.
type hint struct {
	next    time.Time // when it is asked
	attempt int
	running bool
	again   bool // hinted while running
}

func newRepository(name string) *repository {
	return &repository{
		name: name,
		host: hostOf(name),

		known:  make(map[string]store.Tag),
		saving: make(chan struct{}, 1),
	}
}

// quiet tells whether there is nothing to do but the next look.
func (r *repository) quiet() bool { return r.loaded && len(r.hints) == 0 && len(r.inspections) == 0 }

// hint takes note of a hint.
func (r *repository) hint(tag string, now time.Time) {
	if h := r.hints[tag]; h != nil {
		h.again = h.running
		h.attempt = 0
		h.next = now
		return
	}
	if tag == "" || len(r.hints) >= maxHints {
		if known, ok := r.known[tag]; ok && known.Digest != "" {
			known.Digest = "" // whoever needs it asks
			r.set(known)
		}
		r.lookSoon(now)
		return
	}
	if r.hints == nil {
		r.hints = make(map[string]*hint)
	}
	r.hints[tag] = &hint{next: now}
}

// lookSoon asks for a look, and for one more when one is under way.
func (r *repository) lookSoon(now time.Time) {
	r.next = now
	r.urgent = true
}

// digest returns the digest of a tag if it can be relied on.
func (r *repository) digest(tag string) (string, bool) {
	known := r.known[tag]
	return known.Digest, known.Digest != "" && known.LastSeen == 0 && r.hints[tag] == nil
}

// restore takes what the cache has, where nothing newer is known.
func (r *repository) restore(scan store.Scan, tags []store.Tag) (n news) {
	r.loaded = true
	r.scan = scan
	r.news = lastNews(tags)
	for _, tag := range tags {
		if _, ok := r.known[tag.Name]; !ok {
			r.known[tag.Name] = tag
			n.added++
		}
	}
	r.stale = true
	return n
}

// lastNews returns when a tag came or moved for the last time; zero if all are as old as the first.
func lastNews(tags []store.Tag) (last time.Time) {
	if len(tags) == 0 {
		return time.Time{}
	}
	first, newest := tags[0].FirstSeen, tags[0].LastMoved()
	for i := range tags {
		first, newest = min(first, tags[i].FirstSeen), max(newest, tags[i].LastMoved())
	}
	if newest == first {
		return time.Time{}
	}
	return newest.Time()
}

const (
	// restFactor is how much longer ago the last news is than the time to the next look.
	restFactor = 20
	// liveliest is how many times as often as every interval the liveliest repository is looked at.
	liveliest = 5
)

// interval returns how long a repository is left alone: the less, the newer its last news is, and most at most.
func (r *repository) interval(most time.Duration, now time.Time) time.Duration {
	if r.news.IsZero() {
		return most
	}
	return min(max(now.Sub(r.news)/restFactor, most/liveliest, minInterval), most)
}

// note takes note of news, unless the repository is seen for the first time.
func (r *repository) note(n news, now time.Time) {
	if n.added+n.moved > 0 && !r.scan.LastComplete.IsZero() {
		r.news = now
	}
}

// merge takes the result of a list that began at a time. Tags only come; they go when the list is complete, and even
// then not those that the registry confirmed after the list began.
func (r *repository) merge(tags []string, complete bool, began, now time.Time) (n news) {
	seen := instant.MicrosOf(now)
	listed := make(map[string]bool, len(tags))
	for _, name := range tags {
		listed[name] = true
		known, ok := r.known[name]
		switch {
		case !ok:
			r.set(store.Tag{Name: name, FirstSeen: seen})
			n.added++
		case known.LastSeen != 0:
			// It may have been pushed anew, so its digest is not known any more.
			r.set(store.Tag{Name: name, FirstSeen: known.FirstSeen, Moved: seen})
			n.added++
		}
	}
	r.note(n, now)
	if !complete {
		return n
	}
	for name, known := range r.known {
		if listed[name] || known.LastSeen != 0 || !r.confirmed[name].Before(began) {
			continue
		}
		known.LastSeen = max(known.FirstSeen, instant.MicrosOf(r.scan.LastComplete))
		r.set(known)
		n.vanished++
	}
	maps.DeleteFunc(r.confirmed, func(_ string, at time.Time) bool { return at.Before(began) })
	return n
}

// confirm takes the registry's answer for one tag.
func (r *repository) confirm(tag, digest string, now time.Time) (n news) {
	known, ok := r.known[tag]
	switch {
	case !ok || known.LastSeen != 0:
		n.added++
	case known.Digest == "":
		n.resolved++
	case known.Digest != digest:
		n.moved++
		known.Moved = instant.MicrosOf(now)
	}
	if !ok {
		known = store.Tag{Name: tag, FirstSeen: instant.MicrosOf(now)}
	}
	r.note(n, now)
	if n.any() {
		known.Digest, known.LastSeen = digest, 0
		r.set(known)
	}
	if r.confirmed == nil {
		r.confirmed = make(map[string]time.Time)
	}
	r.confirmed[tag] = now
	return n
}

// set changes a tag.
func (r *repository) set(tag store.Tag) {
	r.known[tag.Name] = tag
	r.soil(tag.Name)
	r.stale = true
}

// soil has a tag written to the cache.
func (r *repository) soil(tag string) {
	if r.dirty == nil {
		r.dirty = make(map[string]bool)
	}
	r.dirty[tag] = true
}

// takeDirty returns the tags to write to the cache, and takes them for written.
func (r *repository) takeDirty() []store.Tag {
	changed := make([]store.Tag, 0, len(r.dirty))
	for name := range r.dirty {
		changed = append(changed, r.known[name])
	}
	r.dirty = nil // and not cleared: it may have been large
	return changed
}

func (r *repository) snapshot() Snapshot {
	if r.stale {
		tags := r.sorted()
		r.listed, r.gone, r.stale = make([]policy.Tag, 0, len(tags)), nil, false
		for _, tag := range tags {
			known := r.forPolicy(&tag)
			if tag.LastSeen == 0 {
				r.listed = append(r.listed, known)
			} else {
				r.gone = append(r.gone, known)
			}
		}
	}
	s := Snapshot{Repository: r.name, Listed: r.listed, Gone: r.gone, Scan: r.scan}
	if !r.busy {
		s.Next = r.next
	}
	return s
}

// sorted returns all tags that are known, by name.
func (r *repository) sorted() []store.Tag {
	return slices.SortedFunc(maps.Values(r.known), func(a, b store.Tag) int { return strings.Compare(a.Name, b.Name) })
}

// news counts what changed.
type news struct {
	added     int // tags that are new, or back
	vanished  int
	moved     int // digests that differ from the known ones
	resolved  int // digests that were not known
	inspected int // images that were looked at, or could not be
}

func (n news) any() bool { return n != news{} }

func (n news) plus(m news) news {
	return news{n.added + m.added, n.vanished + m.vanished, n.moved + m.moved, n.resolved + m.resolved, n.inspected + m.inspected}
}
