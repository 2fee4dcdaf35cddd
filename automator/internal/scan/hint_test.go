package scan_test

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestHintAsksOneTagWithoutAList(t *testing.T) {
	inWorld(t, func(w *world) {
		w.asked()
		w.changes()
		w.push(api, "1.1.0", "sha256:b")
		if !w.Hint(api, "1.1.0") {
			t.Fatal("api is followed")
		}
		w.after(0)
		same(t, "asked", []string{"head " + api + ":1.1.0"}, w.asked())
		same(t, "tags", []string{"1.0.0=", "1.1.0=sha256:b"}, w.seen(api))
		same(t, "changes", []string{api}, w.changes())
		if digest, err := w.Resolve(w.t.Context(), api, "1.1.0"); err != nil || digest != "sha256:b" {
			t.Errorf("Resolve(...) = %q, %v", digest, err)
		}
		same(t, "asked for what is known", nil, w.asked())

		w.Hint(api, "1.1.0")
		w.after(0)
		same(t, "asked again", []string{"head " + api + ":1.1.0"}, w.asked())
		same(t, "changes without news", nil, w.changes())
		w.push(api, "1.1.0", "sha256:c")
		w.Hint(api, "1.1.0")
		w.after(0)
		same(t, "tags after it moved", []string{"1.0.0=", "1.1.0=sha256:c"}, w.seen(api))
		same(t, "changes", []string{api}, w.changes())
	}, api)
}

func TestHintDoesNotWaitForLooks(t *testing.T) {
	inWorld(t, func(w *world) {
		w.block("list " + api)
		w.block("list " + web)
		w.Hint(api, "")
		w.Hint(web, "")
		w.after(0)
		w.asked()
		w.Hint(api, "1.0.0")
		w.after(0)
		same(t, "asked", []string{"head " + api + ":1.0.0"}, w.asked())
	}, api, web)
}

func TestHintsForATagCoalesce(t *testing.T) {
	inWorld(t, func(w *world) {
		what := "head " + api + ":1.0.0"
		release := w.block(what)
		w.asked()
		w.changes()
		for range 50 {
			w.Hint(api, "1.0.0")
			w.after(0)
		}
		same(t, "asked while one is under way", []string{what}, w.asked())
		w.push(api, "1.0.0", "sha256:new") // after the registry made its answer
		release()
		same(t, "asked after it", []string{what}, w.asked())
		same(t, "tags", []string{"1.0.0=sha256:new"}, w.seen(api))
		same(t, "changes", []string{api, api}, w.changes())
	}, api)
}

func TestHintForATagThatIsNotThereYet(t *testing.T) {
	inWorld(t, func(w *world) {
		w.asked()
		w.Hint(api, "2.0.0")
		w.after(100 * time.Millisecond)
		w.push(api, "2.0.0", "sha256:late")
		w.after(5 * time.Second)
		same(t, "tags", []string{"1.0.0=", "2.0.0=sha256:late"}, w.seen(api))

		w.asked()
		w.Hint(api, "3.0.0")
		w.after(time.Hour)
		if n := len(w.times("head " + api + ":3.0.0")); n != 6 {
			t.Errorf("a tag that does not exist was asked for %d times, want 6", n)
		}
	}, api)
}

func TestHintThatFailsEndsInALook(t *testing.T) {
	inWorld(t, func(w *world) {
		w.after(interval)
		w.asked()
		w.change(func() { w.failing["head "+api+":1.0.0"] = errBoom })
		w.Hint(api, "1.0.0")
		w.after(20 * time.Second)
		if n := len(w.times("list " + api)); n == 0 {
			t.Errorf("asked: %v, want a look in the end", w.asked())
		}
	}, api)
}

func TestManyHintsBecomeALook(t *testing.T) {
	inWorld(t, func(w *world) {
		w.push(api, "1.0.99", "sha256:old")
		w.Hint(api, "1.0.99")
		w.after(0)
		release := func() {}
		for i := range 100 {
			r, before := w.block(fmt.Sprintf("head %s:x%d", api, i)), release
			release = func() { before(); r() }
			w.Hint(api, fmt.Sprintf("x%d", i))
		}
		w.after(0)
		w.asked()
		w.push(api, "1.0.99", "sha256:moved")
		w.push(api, "2.0.0", "sha256:new")
		w.Hint(api, "1.0.99")
		w.Hint(api, "2.0.0")
		w.after(0)
		same(t, "asked", []string{"list " + api}, w.asked())
		if digest, err := w.Resolve(w.t.Context(), api, "1.0.99"); err != nil || digest != "sha256:moved" {
			t.Errorf("Resolve(...) = %q, %v; a hint that found no place must not leave the old digest", digest, err)
		}
		release()
	}, api)
}

func TestHintDuringALookBringsAnother(t *testing.T) {
	inWorld(t, func(w *world) {
		release := w.block("list " + api)
		w.Hint(api, "")
		w.after(0)
		w.asked()
		w.push(api, "2.0.0", "sha256:new") // the list under way does not have it
		w.Hint(api, "")
		w.after(0)
		same(t, "asked", nil, w.asked())
		release()
		same(t, "asked after it", []string{"list " + api}, w.asked())
		same(t, "tags", []string{"1.0.0=", "2.0.0="}, w.seen(api))
	}, api)
}

func TestAListOlderThanAHintTakesNothingBack(t *testing.T) {
	inWorld(t, func(w *world) {
		release := w.block("list " + api)
		w.Hint(api, "")
		w.after(0)
		w.push(api, "1.1.0", "sha256:b")
		w.Hint(api, "1.1.0")
		w.after(time.Second)
		release()
		same(t, "tags", []string{"1.0.0=", "1.1.0=sha256:b"}, w.seen(api))
	}, api)
}

func TestResolve(t *testing.T) {
	inWorld(t, func(w *world) {
		w.asked()
		w.changes()
		for range 3 {
			if digest, err := w.Resolve(w.t.Context(), api, "1.0.0"); err != nil || digest != "sha256:"+api {
				t.Fatalf("Resolve(...) = %q, %v", digest, err)
			}
		}
		same(t, "asked", []string{"head " + api + ":1.0.0"}, w.asked())
		same(t, "changes: who asks knows", nil, w.changes())

		release := w.block("head " + api + ":1.0.0")
		w.Hint(api, "1.0.0")
		w.after(0)
		w.push(api, "1.0.0", "sha256:moved")
		w.change(func() { delete(w.blocked, "head "+api+":1.0.0") })
		if digest, err := w.Resolve(w.t.Context(), api, "1.0.0"); err != nil || digest != "sha256:moved" {
			t.Errorf("Resolve(...) = %q, %v; it was hinted that it moved", digest, err)
		}
		w.change(func() { w.blocked["head "+api+":1.0.0"] = make(chan struct{}) })
		release()

		if digest, err := w.Resolve(w.t.Context(), other, "1.0.0"); err != nil || digest != "sha256:"+other {
			t.Errorf("Resolve(...) of a repository that is not followed = %q, %v", digest, err)
		}
		ctx, cancel := context.WithCancel(w.t.Context())
		cancel()
		w.block("head " + other + ":1.0.0")
		if _, err := w.Resolve(ctx, other, "1.0.0"); err == nil {
			t.Error("Resolve(...) with a context that is done: want an error")
		}
	}, api)
}
