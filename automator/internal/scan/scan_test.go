package scan_test

import (
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/scan"
	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/shared/fault"
)

func same(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want, +got:\n%s", what, diff)
	}
}

func TestLooksAtOnceThenEveryInterval(t *testing.T) {
	inWorld(t, func(w *world) {
		same(t, "tags", []string{"1.0.0="}, w.seen(api))
		same(t, "changes", []string{api}, w.changes())
		w.after(time.Hour)
		at := w.times("list " + api)
		if len(at) < 12 || len(at) > 15 {
			t.Fatalf("%d looks in an hour: %v", len(at), at)
		}
		if gap := at[1] - at[0]; at[0] != 0 || gap < 10*time.Second || gap > interval {
			t.Errorf("first looks at %v and %v, want the second anywhere within the interval", at[0], at[1])
		}
		for i := 2; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap < interval*9/10 || gap > interval*11/10 {
				t.Errorf("look %d came after %s", i, gap)
			}
		}
		same(t, "changes without news", nil, w.changes())
	}, api)
}

func TestLooksAreSpreadAndBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &memory{}, scan.Config{Concurrency: 6})
		var releases []func()
		for _, name := range numbered(40) {
			w.images[name] = map[string]string{}
			releases = append(releases, w.block("list "+name))
		}
		w.follow(numbered(40)...)
		w.run(func() {
			if _, most := w.load(); most != 6 {
				t.Errorf("%d looks at a time, want 6", most)
			}
			for _, release := range releases {
				release()
			}
			_, most := w.load()
			if n := len(w.asked()); n != 40 || most != 6 {
				t.Errorf("%d looks, %d at a time", n, most)
			}
			busiest := 0
			for range 10 {
				w.after(interval / 10)
				busiest = max(busiest, len(w.asked()))
			}
			if busiest > 16 {
				t.Errorf("%d of 40 looks in a tenth of the interval", busiest)
			}
		})
	})
}

func TestASlowRegistryDoesNotStarveOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &memory{}, scan.Config{Concurrency: 4})
		follow := []string{other}
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			follow = append(follow, "slow.test/"+name)
			w.block("list slow.test/" + name)
		}
		w.follow(follow...)
		w.run(func() {
			same(t, "tags", []string{"1.0.0="}, w.seen(other))
			if running, _ := w.load(); running != 2 {
				t.Errorf("%d looks at the slow registry, want half of 4", running)
			}
		})
	})
}

func TestVanishedTagsAreKept(t *testing.T) {
	inWorld(t, func(w *world) {
		w.push(api, "1.1.0", "sha256:b")
		w.after(interval)
		if _, err := w.Resolve(w.t.Context(), api, "1.1.0"); err != nil {
			t.Fatal(err)
		}
		w.changes()
		w.change(func() { delete(w.images[api], "1.1.0") })
		w.after(2 * interval)
		same(t, "tags", []string{"1.0.0=", "-1.1.0=sha256:b"}, w.seen(api))
		same(t, "changes", []string{api}, w.changes())

		w.push(api, "1.1.0", "sha256:c")
		w.after(2 * interval)
		same(t, "tags after it is back", []string{"1.0.0=", "1.1.0="}, w.seen(api))
		if digest, err := w.Resolve(w.t.Context(), api, "1.1.0"); err != nil || digest != "sha256:c" {
			t.Errorf("Resolve(...) = %q, %v; it was pushed anew", digest, err)
		}
	}, api)
}

func TestPartialListsNeverReplaceAFullOne(t *testing.T) {
	inWorld(t, func(w *world) {
		first, _ := w.Seen(api)
		w.change(func() {
			w.partial[api] = true
			w.images[api] = map[string]string{"0.9.0": "sha256:x"}
		})
		w.after(10 * interval)
		same(t, "tags", []string{"0.9.0=", "1.0.0="}, w.seen(api))
		snapshot, _ := w.Seen(api)
		if snapshot.Scan.LastError == "" || !snapshot.Scan.LastAttempt.After(first.Scan.LastAttempt) || snapshot.Scan.LastComplete != first.Scan.LastComplete {
			t.Errorf("scan: %+v, want an explanation and the old time of the last complete list", snapshot.Scan)
		}
		if looks := len(w.times("list " + api)); looks < 10 || looks > 5*10+3 {
			t.Errorf("%d looks, want one every interval, or up to five after the news: a list that is as long as a page is no failure", looks)
		}
		w.change(func() { w.partial[api] = false })
		w.after(2 * interval)
		same(t, "tags after a full list", []string{"0.9.0=", "-1.0.0="}, w.seen(api))
	}, api)
}

func TestTagsOfAListThatFailedHalfWay(t *testing.T) {
	inWorld(t, func(w *world) {
		w.change(func() {
			w.failing["list "+api] = errBoom
			w.images[api] = map[string]string{"2.0.0": "sha256:x"}
		})
		w.after(2 * interval)
		same(t, "tags", []string{"1.0.0=", "2.0.0="}, w.seen(api))
	}, api)
}

func TestErrorsBackOff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.change(func() { w.failing["list "+api] = errBoom })
		w.asked()
		w.after(24 * time.Hour)
		at := w.times("list " + api)
		if len(at) < 40 || len(at) > 150 {
			t.Errorf("%d looks at a broken registry in a day", len(at))
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap < 5*time.Second || gap > 31*time.Minute {
				t.Errorf("look %d came after %s", i, gap)
			}
		}
		snapshot, _ := w.Seen(api)
		if snapshot.Scan.LastError != "boom" || snapshot.Next.IsZero() {
			t.Errorf("snapshot: %+v", snapshot)
		}
		w.change(func() { delete(w.failing, "list "+api) })
		w.after(31 * time.Minute)
		if snapshot, _ := w.Seen(api); snapshot.Scan.LastError != "" {
			t.Errorf("after it recovered: %+v", snapshot.Scan)
		}
	}, api)
}

func TestAMissingRepositoryIsNoFailure(t *testing.T) {
	inWorld(t, func(w *world) {
		w.change(func() { w.failing["list "+api] = fault.New(fault.NotFound, "no such repository") })
		w.after(10 * time.Hour)
		if n := len(w.times("list " + api)); n < 110 {
			t.Errorf("%d looks in ten hours, want one every interval: it may be pushed at any time", n)
		}
	}, api)
}

func TestAPausedRegistryIsLeftAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.after(10 * time.Second)
		w.asked()
		w.change(func() { w.failing["list "+api] = pauseError{17 * time.Minute} })
		w.Hint(api, "")
		w.after(0)
		same(t, "asked", []string{"list " + api}, w.asked())
		w.Hint(web, "1.0.0")
		w.Hint(web, "")
		w.Hint(other, "1.0.0")
		w.change(func() { delete(w.failing, "list "+api) })
		w.after(16 * time.Minute)
		for _, what := range w.asked() {
			if what != "list "+other && what != "head "+other+":1.0.0" {
				t.Errorf("%s during the pause", what)
			}
		}
		w.after(3 * time.Minute)
		if len(w.times("list "+api)) == 0 || len(w.times("head "+web+":1.0.0")) != 1 {
			t.Errorf("after the pause: %v", w.asked())
		}
	}, api, web, other)
}

func TestFollowReplaces(t *testing.T) {
	inWorld(t, func(w *world) {
		w.push(api, "2.0.0", "sha256:x")
		w.changes()
		release := w.block("list " + api)
		w.Hint(api, "") // so that a look with news is under way when api is dropped
		w.after(0)
		w.follow(web)
		release()
		if _, ok := w.Seen(api); ok || w.Follows(api) || w.Hint(api, "1.0.0") {
			t.Error("api is still followed")
		}
		w.asked()
		w.after(interval)
		for _, what := range w.asked() {
			if what != "list "+web {
				t.Errorf("%s, but only web is followed", what)
			}
		}
		same(t, "changes", []string{web}, w.changes())
		w.follow(api, web)
		w.after(0)
		same(t, "tags", []string{"1.0.0=", "2.0.0="}, w.seen(api))
	}, api)
}

func TestMovingTagsAreAskedAtEveryLook(t *testing.T) {
	inWorld(t, func(w *world) {
		w.push(api, "main", "sha256:a")
		w.Follow([]scan.Target{{Repository: api, Moving: []string{"main", "missing"}}})
		w.Hint(api, "")
		w.after(0)
		same(t, "tags", []string{"1.0.0=", "main=sha256:a"}, w.seen(api))
		w.changes()
		w.after(2 * interval)
		same(t, "changes without news", nil, w.changes())
		w.push(api, "main", "sha256:b")
		w.after(2 * interval)
		same(t, "tags", []string{"1.0.0=", "main=sha256:b"}, w.seen(api))
		same(t, "changes", []string{api}, w.changes())
		if n := len(w.times("head " + api + ":1.0.0")); n != 0 {
			t.Errorf("%d questions about a tag that does not move", n)
		}
		if snapshot, _ := w.Seen(api); snapshot.Scan.LastError == "" || snapshot.Scan.LastComplete.IsZero() {
			t.Errorf("a moving tag that is missing should be explained: %+v", snapshot.Scan)
		}
	}, api)
}

func TestRestartRemembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "store.db")})
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		w := newWorld(t, cache, scan.Config{})
		w.push(api, "1.1.0", "sha256:b")
		w.follow(api)
		w.run(func() {
			w.change(func() { delete(w.images[api], "1.0.0") })
			w.Hint(api, "")
			w.Hint(api, "1.1.0")
			w.after(time.Second)
		})
		w.asked()
		w.changes()

		w.start(scan.Config{})
		w.follow(api)
		w.run(func() {
			same(t, "tags", []string{"-1.0.0=", "1.1.0=sha256:b"}, w.seen(api))
			same(t, "changes", []string{api}, w.changes())
			if digest, err := w.Resolve(t.Context(), api, "1.1.0"); err != nil || digest != "sha256:b" {
				t.Errorf("Resolve(...) = %q, %v", digest, err)
			}
			w.after(10 * time.Second)
			same(t, "asked soon, for a hint may have been lost", []string{"list " + api}, w.asked())
		})

		<-time.After(interval)
		w.start(scan.Config{})
		w.follow(api)
		w.run(func() {
			same(t, "asked after a long stop", []string{"list " + api}, w.asked())
		})
	})
}

func TestABrokenCacheStopsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cache := &memory{}
		cache.broken(errBoom)
		w := newWorld(t, cache, every(time.Minute))
		w.follow(api)
		w.run(func() {
			same(t, "tags", []string{"1.0.0="}, w.seen(api))
			cache.broken(nil)
			w.after(2 * time.Minute)
			if _, tags := cache.written(api); tags != 1 {
				t.Errorf("%d tags in the cache, want what could not be written before", tags)
			}
		})
	})
}

func TestLooksWithoutNewsAreRecordedTogether(t *testing.T) {
	inWorld(t, func(w *world) {
		cache, _ := w.cache.(*memory)
		w.after(time.Minute)
		puts, _ := cache.written(api)
		before := len(cache.recorded())
		w.asked()
		w.after(2 * interval)
		looks := len(w.asked())
		if now, _ := cache.written(api); now != puts {
			t.Errorf("%d writes of single looks that found nothing", now-puts)
		}
		batches := cache.recorded()[before:]
		recorded := 0
		for _, n := range batches {
			recorded += n
		}
		if recorded < looks-10 || len(batches) > 2*int(interval/(15*time.Second)) {
			t.Errorf("%d of %d looks recorded in %d writes", recorded, looks, len(batches))
		}
	}, numbered(100)...)
}

func TestLooksAreRecordedOnceTheCacheWorksAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		cache, _ := w.cache.(*memory)
		w.after(interval)
		before := len(cache.recorded())
		cache.broken(errBoom)
		w.after(2 * interval)
		owed, _ := w.Seen(api)
		cache.broken(nil)
		w.after(15 * time.Second)
		if got := cache.recorded()[before:]; !slices.Equal(got, []int{1}) {
			t.Errorf("looks recorded: %v, want the one repository at once", got)
		}
		if scan, _, _ := cache.Tags(t.Context(), api); scan.LastComplete.Before(owed.Scan.LastComplete) {
			t.Errorf("recorded %+v, want %+v or a later look", scan, owed.Scan)
		}
	}, api)
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for _, cfg := range []scan.Config{every(time.Second), every(-time.Minute), {Concurrency: -1}} {
		if _, err := scan.New(cfg, scan.Deps{}); err == nil {
			t.Errorf("%+v: want an error", cfg)
		}
	}
}
