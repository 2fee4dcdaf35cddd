package verify_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/verify"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
)

// numbered are images of a repository, as many as one likes.
func numbered(repository string, i int) signature.Image {
	return signature.Image{Repository: repository, Digest: digestOf(fmt.Sprint(i))}
}

// flood has a cluster ask about images of a part of a registry that does not answer. What it returns ends that.
func flood(t *testing.T, w *world, e *verify.Evidence, cluster string, images int) (end func()) {
	t.Helper()
	w.slow, w.release = "registry.test/slow", make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range images {
		all.Go(func() { _, _, _ = e.For(ctx, cluster, numbered("registry.test/slow/api", i), nil) })
	}
	synctest.Wait()
	return func() {
		cancel()
		close(w.release)
		all.Wait()
	}
}

func TestAClusterLeavesPlacesToOthers(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, _ *shelf, e *verify.Evidence) {
		t.Helper()
		w.material[api.Digest] = signedBy(signaturetest.ECDSA(t), "1.0.0")
		end := flood(t, w, e, "mallory", 100)
		defer end()
		if got := w.waiting(); got != 2 {
			t.Errorf("a registry is asked about %d images for one cluster; want 2", got)
		}
		began := time.Now()
		has(t, e, nil, 1)
		if took := time.Since(began); took != 0 {
			t.Errorf("another cluster waited %s", took)
		}
	})
}

// TestWhoAsksFirstKeepsNobody has a cluster ask about an image that stands at the end of another's line.
func TestWhoAsksFirstKeepsNobody(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, _ *shelf, e *verify.Evidence) {
		t.Helper()
		w.material[api.Digest] = signedBy(signaturetest.ECDSA(t), "1.0.0")
		end := flood(t, w, e, "mallory", 100)
		defer end()
		var all sync.WaitGroup
		defer all.Wait()
		all.Go(func() {
			if m, _, err := e.For(t.Context(), "mallory", api, nil); err != nil || len(m.Items) != 1 {
				t.Errorf("who asked first: %d signatures, %v; want what the other was told", len(m.Items), err)
			}
		})
		synctest.Wait()
		asked := w.questions()
		has(t, e, nil, 1)
		synctest.Wait()
		if got := w.questions() - asked; got != 1 {
			t.Errorf("asked %d times; want once for both", got)
		}
	})
}

func TestWhoGivesUpKeepsNobody(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, _ *shelf, e *verify.Evidence) {
		t.Helper()
		w.slow, w.release = "registry.test", make(chan struct{})
		w.material[api.Digest] = signedBy(signaturetest.ECDSA(t), "1.0.0")
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for _, one := range []context.Context{ctx, t.Context()} {
			all.Go(func() {
				_, _, err := e.For(one, "dev", api, nil)
				if one == ctx || err == nil {
					return
				}
				t.Errorf("who still waits: %v", err)
			})
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		close(w.release)
		all.Wait()
		if got := w.questions(); got != 1 {
			t.Errorf("asked %d times; want once", got)
		}
	})
}

func TestDigestsThatNobodyNamesAreFew(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, _ *shelf, e *verify.Evidence) {
		t.Helper()
		w.secret = "registry.test/acme/guessed"
		const burst, more = 100, 50
		refused := 0
		for i := range burst + more {
			_, _, err := e.For(t.Context(), "mallory", numbered(w.secret, i), nil)
			if err != nil && !fault.Is(err, fault.Conflict) {
				t.Fatal(err)
			}
			if err != nil {
				refused++
			}
		}
		if got := w.questions(); got != burst || refused != more {
			t.Errorf("asked %d times, and refused %d; want %d and %d", got, refused, burst, more)
		}
		if _, _, err := e.For(t.Context(), "dev", numbered(w.secret, burst+more), nil); err != nil {
			t.Errorf("another cluster: %v", err)
		}
		if _, _, err := e.For(t.Context(), "mallory", api, nil); err != nil {
			t.Errorf("a digest that is named: %v", err)
		}
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		if _, _, err := e.For(t.Context(), "mallory", numbered(w.secret, burst), nil); err != nil {
			t.Errorf("one a second: %v", err)
		}
	})
}

func TestWhatIsKeptCostsNoBudget(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, s *shelf, e *verify.Evidence) {
		t.Helper()
		w.secret = repository
		kept := signedBy(signaturetest.ECDSA(t), "1.0.0")
		for i := range 200 {
			image := numbered(repository, i)
			w.material[image.Digest], s.kept[image.Repository+"@"+image.Digest] = kept, kept
			_, version, err := e.For(t.Context(), "dev", image, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := e.For(t.Context(), "dev", image, version); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.questions(); got != 200 {
			t.Fatalf("asked %d times about what is kept and not enough; want 200", got)
		}
		for i := range 100 {
			if _, _, err := e.For(t.Context(), "dev", numbered(w.secret, 1000+i), nil); err != nil {
				t.Fatalf("guess %d: %v; want the whole budget", i, err)
			}
		}
	})
}

func TestImagesThatAreAskedAboutAreBounded(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, _ *shelf, e *verify.Evidence) {
		t.Helper()
		const most = 10_000
		for i := range most {
			if _, _, err := e.For(t.Context(), "dev", numbered(repository, i), nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := e.For(t.Context(), "dev", numbered(repository, most), nil); !fault.Is(err, fault.Conflict) || w.questions() != most {
			t.Errorf("one more: asked %d times, %v; want it refused", w.questions(), err)
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		if _, _, err := e.For(t.Context(), "dev", numbered(repository, most), nil); err != nil {
			t.Errorf("once they may be asked about again: %v", err)
		}
	})
}
