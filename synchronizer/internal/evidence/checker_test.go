package evidence_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
	"github.com/tandem-cd/tandem/synchronizer/internal/evidence"
	"github.com/tandem-cd/tandem/synchronizer/internal/signed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// world is an automator with signatures, and a cluster that trusts a key.
type world struct {
	key    signaturetest.Key
	policy *signed.Policy
	dir    string

	mu       sync.Mutex
	material map[signature.Image]signature.Material
	down     error
	hold     chan struct{}            // answers wait for it when it is not nil
	stuck    map[signature.Image]bool // of which no answer ever comes
	asked    int
	order    []signature.Image // what it was asked about
	seen     []string          // the versions that were not enough
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{key: signaturetest.ECDSA(t), dir: filepath.Join(t.TempDir(), "signatures"), material: map[signature.Image]signature.Material{}}
	policy, err := signed.NewPolicy(signed.Config{Signed: []signed.Rule{{Repositories: []string{"*"}, Config: signature.Config{Keys: []string{w.key.Public}}}}})
	if err != nil {
		t.Fatal(err)
	}
	w.policy = policy
	return w
}

// checker returns one as a process that has just begun has it.
func (w *world) checker(t *testing.T) *evidence.Checker {
	t.Helper()
	log, _ := logtest.New(t)
	c := evidence.New(evidence.Deps{Policy: w.policy, Relay: w, Dir: w.dir, Log: log})
	t.Cleanup(c.Stop)
	return c
}

func (w *world) Signatures(ctx context.Context, image signature.Image, seen []byte) (signature.Material, []byte, error) {
	w.mu.Lock()
	w.asked++
	w.order = append(w.order, image)
	w.seen = append(w.seen, string(seen))
	hold := w.hold
	if w.stuck[image] {
		hold = make(chan struct{})
	}
	w.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return signature.Material{}, nil, ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.material[image]
	return m, fmt.Appendf(nil, "version %d", len(m.Items)), w.down
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// questions returns how often the automator was asked since the last time.
func (w *world) questions() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = 0
	return asked
}

func imageOf(name string) signature.Image {
	return signature.Image{Repository: "ghcr.io/acme/" + name, Digest: signaturetest.Digest(name)}
}

func (w *world) sign(names ...string) {
	w.set(func() {
		for _, name := range names {
			w.material[imageOf(name)] = signature.Material{Items: []signature.Item{w.key.Simple(signaturetest.Payload(imageOf(name)))}}
		}
	})
}

// pod runs images.
func pod(names ...string) *unstructured.Unstructured {
	var containers []any
	for _, name := range names {
		containers = append(containers, map[string]any{"image": imageOf(name).Repository + "@" + imageOf(name).Digest})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "a"}, "spec": map[string]any{"containers": containers},
	}}
}

// check has one Pod checked, and fails the test unless it comes to what is wanted: part of the refusal, empty for none.
func check(t *testing.T, c *evidence.Checker, want string, names ...string) time.Duration {
	t.Helper()
	refusals, after := c.Check(t.Context(), "shop.web", []*unstructured.Unstructured{pod(names...)})
	got := fmt.Sprint(refusals[0])
	if want == "" && refusals[0] != nil || want != "" && !strings.Contains(got, want) {
		t.Errorf("Check(%q): got %s, want %q", names, got, want)
	}
	return after
}

func TestWhatIsSignedIsAskedAboutOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sign("web", "api")
	c := w.checker(t)
	for range 2 {
		if after := check(t, c, "", "web", "api"); after != 0 {
			t.Errorf("what is signed is checked again after %s", after)
		}
	}
	if got := w.questions(); got != 2 {
		t.Errorf("asked %d times about two images", got)
	}
	w.set(func() { w.down = errBoom })
	check(t, c, "", "web")
	check(t, w.checker(t), "", "web", "api") // also after a restart
	if got := w.questions(); got != 0 {
		t.Errorf("asked %d times about what was signed already", got)
	}
}

func TestWhatIsNotSignedIsAskedAboutLaterAndLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.checker(t)
		for began, rounds := time.Now(), 0; time.Since(began) < 24*time.Hour; rounds++ {
			after := check(t, c, "is not signed as this cluster demands: no signature by key", "web")
			if after <= 0 || after > 5*time.Minute {
				t.Fatalf("looked at again after %s", after)
			}
			check(t, c, "is not signed", "web") // other Syncs, meanwhile
			time.Sleep(after)                   //nolint:forbidigo // the bubble's clock
		}
		if got := w.questions(); got < 288 || got > 2000 {
			t.Errorf("asked %d times in a day; want about one in minutes", got)
		}
		w.sign("web")
		time.Sleep(5 * time.Minute) //nolint:forbidigo // the bubble's clock
		check(t, c, "", "web")
		if last := w.seen[len(w.seen)-1]; last != "version 0" {
			t.Errorf("asked with %q; want the version that was not enough", last)
		}
	})
}

func TestNothingIsBelievedWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sign("web")
		w.set(func() { w.down = errBoom })
		c := w.checker(t)
		after := check(t, c, "could not be had from the automator, which is tried again: boom", "web")
		w.set(func() { w.down = nil })
		time.Sleep(after) //nolint:forbidigo // the bubble's clock
		check(t, c, "", "web")
	})
}

func TestOneOfSeveralImages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sign("web")
	refusals, after := w.checker(t).Check(t.Context(), "shop.web", []*unstructured.Unstructured{pod("web"), pod("web", "api"), pod("web")})
	if refusals[0] != nil || refusals[1] == nil || refusals[2] != nil || after <= 0 {
		t.Errorf("Check(...): %v, %s; want the second alone refused", refusals, after)
	}
}

// TestTheFolderIsNotBelieved has somebody write to it.
func TestTheFolderIsNotBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sign("web")
	check(t, w.checker(t), "", "web")
	files, err := os.ReadDir(w.dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, %v; want one", len(files), err)
	}
	path := filepath.Join(w.dir, files[0].Name())
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.down = errBoom })
	stranger := newWorld(t)
	stranger.dir, stranger.down = w.dir, errBoom // another key is trusted now
	for name, text := range map[string][]byte{"another key": content, "no JSON": []byte("{"), "nothing": nil} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Logf("the folder has %s", name)
		check(t, stranger.checker(t), "boom", "web")
	}
}

func TestManyWhoAskAtOnceGetOneAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sign("web")
		w.hold = make(chan struct{})
		c := w.checker(t)
		leaving, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if refusals, _ := c.Check(leaving, "shop.web", []*unstructured.Unstructured{pod("web")}); refusals[0] == nil {
				t.Error("who gave up was told that it is signed")
			}
		})
		synctest.Wait() // it is the one who asks
		for range 10 {
			all.Go(func() { check(t, c, "", "web") })
		}
		synctest.Wait()
		leave() // the ask goes on
		synctest.Wait()
		close(w.hold)
		all.Wait()
		if got := w.questions(); got != 1 {
			t.Errorf("asked %d times; want one ask for all, although the first gave up", got)
		}
	})
}

func TestAnImageWithoutAnAnswerHoldsNothingElseUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.sign("web", "api")
		w.stuck = map[signature.Image]bool{imageOf("api"): true}
		c := w.checker(t)
		for _, patience := range []time.Duration{3 * time.Second, 0} { // nobody waits for the same answer again
			began := time.Now()
			refusals, after := c.Check(t.Context(), "shop.web", []*unstructured.Unstructured{pod("api"), pod("web")})
			if !errors.Is(refusals[0], evidence.ErrUnknown) || refusals[1] != nil || after != time.Second {
				t.Errorf("Check(...): %v, %s; want the first alone refused, for a second", refusals, after)
			}
			if got := time.Since(began); got != patience {
				t.Errorf("waited %s; want %s", got, patience)
			}
		}
		if got := w.questions(); got != 2 {
			t.Errorf("asked %d times about two images", got)
		}
	})
}

func TestFewAreAskedAboutAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hold = make(chan struct{})
		c := w.checker(t)
		var all sync.WaitGroup
		for i := range 5 {
			var names []string
			for j := range 5 {
				w.sign(fmt.Sprintf("web-%d-%d", i, j))
				names = append(names, fmt.Sprintf("web-%d-%d", i, j))
			}
			all.Go(func() { check(t, c, "", names...) })
		}
		synctest.Wait()
		if got := w.questions(); got != 8 {
			t.Errorf("%d images are asked about at a time; want 8 for all who want to know", got)
		}
		close(w.hold)
		all.Wait()
		if got := w.questions(); got != 17 {
			t.Errorf("asked %d times about the others; want 17", got)
		}
	})
}

func TestNothingIsAskedOnceStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sign("web")
	c := w.checker(t)
	c.Stop()
	if after := check(t, c, evidence.ErrUnknown.Error(), "web"); after <= 0 || w.questions() != 0 {
		t.Errorf("looked at again after %s; want later, and nothing asked", after)
	}
}

func TestWhatTheAutomatorSaysIsPrintable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.down = errors.New("a\x1b[2Jb\nc\u202ed" + strings.Repeat("é", 1000))
	refusals, _ := w.checker(t).Check(t.Context(), "shop.web", []*unstructured.Unstructured{pod("web")})
	if text := refusals[0].Error(); !strings.Contains(text, "a\ufffd[2Jb c\ufffddé") || len(text) > 1000 || !utf8.ValidString(text) {
		t.Errorf("refusal of %d bytes: %q", len(text), text)
	}
}

func TestHurry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.checker(t)
		pods := []*unstructured.Unstructured{pod("web")}
		c.Hurry(pods) // of which nothing is known
		for range 9 {
			time.Sleep(check(t, c, "is not signed", "web")) //nolint:forbidigo // the bubble's clock
		}
		check(t, c, "is not signed", "web")
		w.sign("web")
		w.questions()
		c.Hurry(pods)
		if after := check(t, c, "is not signed", "web"); after > 2*time.Second || w.questions() > 0 {
			t.Errorf("asked again at once, or after %s; want two seconds", after)
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		check(t, c, "", "web")
	})
}

// manyAndOne is a Sync with many images, of which some are being asked about, and another one that begins to want one.
func manyAndOne(t *testing.T, one string, test func(w *world, answer func() (next signature.Image))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.hold = make(chan struct{})
		c := w.checker(t)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		ask := func(sync string, names ...string) {
			all.Go(func() { c.Check(ctx, sync, []*unstructured.Unstructured{pod(names...)}) })
			synctest.Wait()
		}
		var many []string
		for i := range 1000 {
			many = append(many, fmt.Sprintf("many-%d", i))
		}
		ask("shop.many", many...)
		ask("shop.one", one)
		test(w, func() signature.Image {
			w.hold <- struct{}{}
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.order[len(w.order)-1]
		})
		cancel()
		all.Wait()
	})
}

func TestSyncsAskInTurn(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]string{"Another": "web", "OneThatIsQueued": "many-999"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			manyAndOne(t, one, func(_ *world, answer func() signature.Image) {
				var asked []string
				for range 2 {
					asked = append(asked, answer().Repository)
				}
				if !slices.Contains(asked, imageOf(one).Repository) {
					t.Errorf("asked about %q next; want one of each Sync", asked)
				}
			})
		})
	}
}

func TestWhatTwoSyncsWantIsAskedAboutOnce(t *testing.T) {
	t.Parallel()
	manyAndOne(t, "many-999", func(w *world, _ func() signature.Image) {
		w.set(func() { w.stuck = map[signature.Image]bool{imageOf("many-999"): true} }) // it is being asked about when the other turn comes
		close(w.hold)
		synctest.Wait()
		if got := w.questions(); got != 1000 {
			t.Errorf("asked %d times about 1000 images", got)
		}
	})
}
