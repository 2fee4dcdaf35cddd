package scan_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// looksIn returns how often a repository is looked at in a span of time.
func (w *world) looksIn(repository string, d time.Duration) int {
	before := len(w.times("list " + repository))
	w.after(d)
	return len(w.times("list "+repository)) - before
}

func TestALivelyRepositoryIsLookedAtMoreOften(t *testing.T) {
	t.Parallel()
	const span = 4 * interval
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &memory{}, every(interval))
		w.follow(api, web)
		w.run(func() {
			if looks := w.looksIn(api, span); looks > 6 {
				t.Errorf("%d looks in four intervals; what is there at the first look is no news", looks)
			}
			w.push(api, "1.1.0", "sha256:b")
			w.after(interval + interval/5)
			if looks := w.looksIn(api, span); looks < 10 || looks > 21 {
				t.Errorf("%d looks in four intervals after news, want up to five for each", looks)
			}
			if looks := w.looksIn(web, span); looks > 5 {
				t.Errorf("%d looks at its neighbour", looks)
			}
			w.after(24 * time.Hour)
			if looks := w.looksIn(api, span); looks > 5 {
				t.Errorf("%d looks a day later, want one for each interval", looks)
			}
			w.push(api, "1.2.0", "sha256:c")
			w.after(interval + interval/5)
		})
		w.start(every(interval))
		w.follow(api)
		w.run(func() {
			w.after(interval)
			if looks := w.looksIn(api, span); looks < 10 {
				t.Errorf("%d looks after a restart, want as many as before: the cache knows when the last tag came", looks)
			}
		})
	})
}
