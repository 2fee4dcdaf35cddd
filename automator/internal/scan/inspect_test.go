package scan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/automator/internal/scan"
)

// listed returns what policies get to know of a repository's tags.
func (w *world) listed(repository string) []policy.Tag {
	w.t.Helper()
	snapshot, ok := w.Seen(repository)
	if !ok {
		w.t.Fatalf("%s is not followed", repository)
	}
	return snapshot.Listed
}

func TestInspectLooksAtEachImageOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		created := w.began.Add(-time.Hour)
		w.change(func() { w.made["1.0.0"] = created })
		w.asked()
		w.changes()
		w.Scanner.Inspect(api, []string{"1.0.0", "unheard-of"})
		w.after(0)
		if diff := cmp.Diff([]string{"inspect " + api + ":1.0.0"}, w.asked()); diff != "" {
			t.Errorf("asked: -want, +got:\n%s", diff)
		}
		want := []policy.Tag{{
			Name: "1.0.0", Digest: "sha256:" + api, Created: created, Pushed: w.listed(api)[0].Pushed,
			Platforms: []string{"linux/amd64", "linux/arm64"}, Inspected: true,
		}}
		if diff := cmp.Diff(want, w.listed(api)); diff != "" {
			t.Errorf("known: -want, +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{api}, w.changes()); diff != "" {
			t.Errorf("announced: -want, +got:\n%s", diff)
		}
		w.Scanner.Inspect(api, []string{"1.0.0"})
		w.after(0)
		if asked := w.asked(); len(asked) != 0 {
			t.Errorf("looked again: %v", asked)
		}
		w.start(scan.Config{}) // what is known outlives the process
		w.follow(api)
		w.run(func() {
			if diff := cmp.Diff(want, w.listed(api)); diff != "" {
				t.Errorf("known after a restart: -want, +got:\n%s", diff)
			}
		})
	}, api)
}

func TestInspectIsBoundedAndAnnouncedOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		tags := numbered(100)
		w.change(func() {
			for _, tag := range tags {
				w.images[api][tag] = "sha256:" + tag
			}
		})
		w.after(2 * interval)
		w.changes()
		release := w.block("inspect " + api + ":" + tags[0])
		w.Scanner.Inspect(api, tags)
		w.after(0)
		if running, most := w.load(); running != 1 || most > 8 {
			t.Errorf("%d are looked at, %d at most at a time", running, most)
		}
		if changed := w.changes(); len(changed) != 0 {
			t.Errorf("announced before all were looked at: %v", changed)
		}
		release()
		if diff := cmp.Diff([]string{api}, w.changes()); diff != "" {
			t.Errorf("announced: -want, +got:\n%s", diff)
		}
	}, api)
}

func TestInspectGivesUpUntilTheNextLook(t *testing.T) {
	inWorld(t, func(w *world) {
		what := "inspect " + api + ":1.0.0"
		w.change(func() { w.failing[what] = errBoom })
		w.changes()
		release := w.block("list " + api) // no look comes between the attempts
		w.asked()
		w.Scanner.Inspect(api, []string{"1.0.0"})
		w.after(time.Minute)
		asked := slices.DeleteFunc(w.asked(), func(what string) bool { return what == "list "+api })
		if len(asked) != 3 {
			t.Errorf("asked %v, want three attempts", asked)
		}
		if tag := w.listed(api)[0]; tag.Problem != errBoom.Error() || tag.Inspected {
			t.Errorf("known: %+v, want the problem", tag)
		}
		if !slices.Contains(w.changes(), api) {
			t.Error("that it cannot be read is news, and was not announced")
		}
		w.change(func() { delete(w.failing, what) })
		release()
		w.after(2 * interval)
		if tag := w.listed(api)[0]; tag.Problem != "" || !tag.Inspected {
			t.Errorf("known after the next look: %+v", tag)
		}
	}, api)
}

func TestInspectRespectsAPause(t *testing.T) {
	inWorld(t, func(w *world) {
		what := "inspect " + api + ":1.0.0"
		w.change(func() { w.failing[what] = pauseError{after: time.Minute} })
		w.Scanner.Inspect(api, []string{"1.0.0"})
		w.after(time.Second)
		w.change(func() { delete(w.failing, what) })
		w.after(50 * time.Second)
		if times := w.times(what); len(times) != 1 {
			t.Errorf("asked at %v, although the registry wants a pause", times)
		}
		w.after(20 * time.Second)
		if tag := w.listed(api)[0]; !tag.Inspected {
			t.Errorf("known after the pause: %+v", tag)
		}
	}, api)
}

func TestFollowedTagMoves(t *testing.T) {
	inWorld(t, func(w *world) {
		w.Follow([]scan.Target{{Repository: api, Moving: []string{"1.0.0"}}})
		w.after(interval)
		first := w.listed(api)[0]
		w.push(api, "1.0.0", "sha256:other")
		w.Hint(api, "1.0.0")
		w.after(0)
		second := w.listed(api)[0]
		if second.Digest != "sha256:other" || !second.Pushed.After(first.Pushed) {
			t.Errorf("known: %+v, before it was %+v; want the other digest, pushed later", second, first)
		}
	}, api)
}
