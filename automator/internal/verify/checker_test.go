package verify_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/automator/internal/verify"
	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const repository = "registry.test/acme/api"

var errBoom = errors.New("boom")

// pause is a registry's wish to be left alone.
type pause struct{ error }

func (pause) RetryAfter() time.Duration { return time.Hour }

// world is a registry and a store in memory.
type world struct {
	mu       sync.Mutex
	tags     map[string]string // digests
	material map[string]signature.Material
	down     error
	asked    int
	stored   map[string][]string
	changed  int
	hints    []string
	slow     string        // a host, or repositories below a name, of which nothing is told before
	release  chan struct{} // this is closed
	held     int           // who waits for that
	secret   string        // a repository whose digests nobody names
}

func newWorld() *world {
	return &world{tags: map[string]string{}, material: map[string]signature.Material{}, stored: map[string][]string{}}
}

func (w *world) Digest(_ context.Context, _, tag string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	digest, found := w.tags[tag]
	if !found || w.down != nil {
		return "", errors.Join(errBoom, w.down)
	}
	return digest, nil
}

func (w *world) Hint(_, tag string) bool {
	w.set(func() { w.hints = append(w.hints, tag) })
	return true
}

func (w *world) Signatures(ctx context.Context, repository, digest string) (signature.Material, error) {
	if w.slow != "" && strings.HasPrefix(repository, w.slow+"/") {
		w.set(func() { w.held++ })
		defer w.set(func() { w.held-- })
		select {
		case <-w.release:
		case <-ctx.Done():
			return signature.Material{}, ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	return w.material[digest], w.down
}

func (w *world) names(image signature.Image) bool { return image.Repository != w.secret }

func (w *world) Verified(_ context.Context, repository, digest, rules string) ([]string, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	by, found := w.stored[repository+digest+rules]
	return by, found, nil
}

func (w *world) PutVerified(_ context.Context, repository, digest, rules string, by []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stored[repository+digest+rules] = by
	return nil
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// waiting returns how many wait for an answer that does not come.
func (w *world) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held
}

func (w *world) questions() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// play runs a test in a bubble with a checker.
func play(t *testing.T, cfg verify.Config, w *world, test func(c *verify.Checker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log, _ := logtest.New(t)
		c := verify.New(cfg, verify.Deps{Registry: w, Store: w, Log: log, Changed: func() { w.set(func() { w.changed++ }) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		test(c)
		cancel()
		<-done
	})
}

func rules(t *testing.T, keys ...string) signature.Rules {
	t.Helper()
	rule, err := signature.New(signature.Config{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return signature.Rules{rule}
}

func digestOf(tag string) string { return signaturetest.Digest(tag) }

func tagged(tag string) *policy.Tag { return &policy.Tag{Name: tag, Digest: digestOf(tag)} }

func signedBy(key signaturetest.Key, tag string) signature.Material {
	image := signature.Image{Repository: repository, Digest: digestOf(tag)}
	return signature.Material{Items: []signature.Item{key.Simple(signaturetest.Payload(image))}}
}

// want checks what is known of a tag: "unchecked", "signed", or a part of the reason.
func want(t *testing.T, c *verify.Checker, tag *policy.Tag, by signature.Rules, want string) {
	t.Helper()
	got := c.Signed(repository, tag, by)
	var ok bool
	switch want {
	case "unchecked":
		ok = !got.Checked && !got.Kept
	case "signed":
		ok = got.Checked && got.Kept
	default:
		ok = got.Checked && !got.Kept && strings.Contains(got.Reason, want)
	}
	if !ok {
		t.Errorf("Signed(%s): %+v, want %s", tag.Name, got, want)
	}
}

func TestChecksOnce(t *testing.T) {
	w, key := newWorld(), signaturetest.ECDSA(t)
	w.material[digestOf("1.0.0")] = signedBy(key, "1.0.0")
	by := rules(t, key.Public)
	play(t, verify.Config{}, w, func(c *verify.Checker) {
		want(t, c, tagged("1.0.0"), by, "unchecked")
		c.Check(repository, []policy.Tag{*tagged("1.0.0")}, by)
		synctest.Wait()
		want(t, c, tagged("1.0.0"), by, "signed")
		if c.Generation() == 0 || w.changed == 0 {
			t.Error("nobody was told of the verdict")
		}
		c.Check(repository, []policy.Tag{*tagged("1.0.0")}, by)
		<-time.After(time.Minute)
		if got := w.questions(); got != 1 {
			t.Errorf("asked %d times, want once", got)
		}
	})
	// The store knows it, and the registry is not asked again.
	w.down = errBoom
	play(t, verify.Config{}, w, func(c *verify.Checker) {
		c.Check(repository, []policy.Tag{*tagged("1.0.0")}, by)
		synctest.Wait()
		want(t, c, tagged("1.0.0"), by, "signed")
	})
}

// TestMovedTag checks what a tag points to, by its digest: another digest under the same tag is another image.
func TestMovedTag(t *testing.T) {
	w, key := newWorld(), signaturetest.ECDSA(t)
	w.tags["main"] = digestOf("first")
	w.material[digestOf("first")] = signedBy(key, "first")
	by := rules(t, key.Public)
	play(t, verify.Config{}, w, func(c *verify.Checker) {
		c.Check(repository, []policy.Tag{{Name: "main"}}, by)
		synctest.Wait()
		want(t, c, tagged("first"), by, "signed")
		want(t, c, tagged("second"), by, "unchecked")
		c.Check(repository, []policy.Tag{*tagged("second")}, by)
		synctest.Wait()
		want(t, c, tagged("second"), by, "the registry has none")
	})
}

// TestSignedLater looks again at what is not signed: soon by itself, and at once when something is seen in the repository.
func TestSignedLater(t *testing.T) {
	w, key := newWorld(), signaturetest.ECDSA(t)
	by := rules(t, key.Public)
	play(t, verify.Config{}, w, func(c *verify.Checker) {
		c.Check(repository, []policy.Tag{*tagged("a"), *tagged("b")}, by)
		synctest.Wait()
		want(t, c, tagged("a"), by, "the registry has none")
		w.set(func() { w.material[digestOf("a")] = signedBy(key, "a") })
		<-time.After(10 * time.Second)
		want(t, c, tagged("a"), by, "signed")

		<-time.After(50 * time.Minute)
		want(t, c, tagged("b"), by, "the registry has none")
		<-time.After(3 * time.Second)
		before := w.questions()
		w.set(func() { w.material[digestOf("b")] = signedBy(key, "b") })
		c.Recheck("registry.test/acme/other")
		synctest.Wait()
		if w.questions() != before {
			t.Error("another repository's news had it checked")
		}
		c.Recheck(repository)
		synctest.Wait()
		want(t, c, tagged("b"), by, "signed")
	})
}

// TestRegistryDown accepts nothing, and asks again; what is known already stays known. That it does not answer is no verdict,
// unless it lasts.
func TestRegistryDown(t *testing.T) {
	w, key := newWorld(), signaturetest.ECDSA(t)
	w.material[digestOf("1.0.0")], w.material[digestOf("1.1.0")] = signedBy(key, "1.0.0"), signedBy(key, "1.1.0")
	by := rules(t, key.Public)
	play(t, verify.Config{}, w, func(c *verify.Checker) {
		c.Check(repository, []policy.Tag{*tagged("1.0.0"), *tagged("0.9.0")}, by)
		synctest.Wait()
		want(t, c, tagged("0.9.0"), by, "the registry has none")
		w.set(func() { w.down = errBoom })
		c.Check(repository, []policy.Tag{*tagged("1.1.0"), {Name: "1.2.0"}}, by)
		synctest.Wait()
		want(t, c, tagged("1.0.0"), by, "signed")
		for _, tag := range []*policy.Tag{tagged("1.1.0"), {Name: "1.2.0"}} {
			want(t, c, tag, by, "unchecked")
			if got := c.Signed(repository, tag, by); !strings.Contains(got.Reason, "tried again: boom") {
				t.Errorf("%s is unchecked because %q", tag.Name, got.Reason)
			}
		}
		<-time.After(30 * time.Second)
		want(t, c, tagged("0.9.0"), by, "tried again: boom")
		<-time.After(90*time.Second - time.Millisecond)
		want(t, c, tagged("1.1.0"), by, "unchecked")
		<-time.After(2 * time.Millisecond)
		want(t, c, tagged("1.1.0"), by, "tried again: boom")
		want(t, c, &policy.Tag{Name: "1.2.0"}, by, "tried again: boom")
		w.set(func() { w.down = nil })
		<-time.After(6 * time.Minute)
		want(t, c, tagged("1.1.0"), by, "signed")
	})
}

// TestRecheckAfterAFailure does not wait for its turn when something was seen.
func TestRecheckAfterAFailure(t *testing.T) {
	w, key := newWorld(), signaturetest.ECDSA(t)
	w.material[digestOf("1.0.0")] = signedBy(key, "1.0.0")
	w.down = errBoom
	by := rules(t, key.Public)
	play(t, verify.Config{}, w, func(c *verify.Checker) {
		c.Check(repository, []policy.Tag{*tagged("1.0.0")}, by)
		synctest.Wait()
		w.set(func() { w.down = nil })
		c.Recheck(repository)
		<-time.After(3 * time.Second)
		want(t, c, tagged("1.0.0"), by, "signed")
	})
}

// TestPause leaves a registry alone for as long as it asks, but for the question by which its patience ends.
func TestPause(t *testing.T) {
	w, key := newWorld(), signaturetest.ECDSA(t)
	w.down = pause{errBoom}
	by := rules(t, key.Public)
	play(t, verify.Config{}, w, func(c *verify.Checker) {
		c.Check(repository, []policy.Tag{*tagged("1.0.0")}, by)
		<-time.After(2*time.Minute - time.Second)
		want(t, c, tagged("1.0.0"), by, "unchecked")
		if got := w.questions(); got != 1 {
			t.Errorf("asked %d times within the patience, want once", got)
		}
		<-time.After(2 * time.Second)
		want(t, c, tagged("1.0.0"), by, "boom")
		<-time.After(50 * time.Minute)
		if got := w.questions(); got != 2 {
			t.Errorf("asked %d times within the pause, want twice", got)
		}
	})
}

// TestKeyChanges makes what an old key has signed count no more, and what a new one has signed count, without a restart.
func TestKeyChanges(t *testing.T) {
	w, old, young := newWorld(), signaturetest.ECDSA(t), signaturetest.Ed25519(t)
	w.material[digestOf("1.0.0")], w.material[digestOf("1.1.0")] = signedBy(old, "1.0.0"), signedBy(young, "1.1.0")
	path := filepath.Join(t.TempDir(), "cosign.pub")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(old.Public)
	by := rules(t, "release")
	both := []policy.Tag{*tagged("1.0.0"), *tagged("1.1.0")}
	play(t, verify.Config{Keys: map[string]string{"release": path}}, w, func(c *verify.Checker) {
		c.Check(repository, both, by)
		synctest.Wait()
		want(t, c, tagged("1.0.0"), by, "signed")
		want(t, c, tagged("1.1.0"), by, "no signature by key release")
		write(young.Public)
		<-time.After(20 * time.Second)
		want(t, c, tagged("1.0.0"), by, "unchecked")
		c.Check(repository, both, by)
		synctest.Wait()
		want(t, c, tagged("1.0.0"), by, "no signature by key release")
		want(t, c, tagged("1.1.0"), by, "signed")
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
		<-time.After(20 * time.Second)
		want(t, c, tagged("1.1.0"), by, "no such file")
	})
}

// TestUnknownKey says what is missing, and that is never an image that is signed.
func TestUnknownKey(t *testing.T) {
	play(t, verify.Config{}, newWorld(), func(c *verify.Checker) {
		by := rules(t, "release")
		c.Check(repository, []policy.Tag{*tagged("1.0.0")}, by)
		want(t, c, tagged("1.0.0"), by, `key "release" is not in verification.keys`)
	})
}

// TestForgets stops looking at what nobody asks for any more.
func TestForgets(t *testing.T) {
	w, key := newWorld(), signaturetest.ECDSA(t)
	by := rules(t, key.Public)
	play(t, verify.Config{}, w, func(c *verify.Checker) {
		c.Check(repository, []policy.Tag{*tagged("1.0.0")}, by)
		<-time.After(3 * time.Hour)
		before := w.questions()
		<-time.After(24 * time.Hour)
		if after := w.questions(); after != before {
			t.Errorf("asked %d times more for what nobody wants to know", after-before)
		}
		want(t, c, tagged("1.0.0"), by, "unchecked")
	})
}

// TestASlowRegistryLeavesPlaces has one registry that never answers beside one that does.
func TestASlowRegistryLeavesPlaces(t *testing.T) {
	w, key := newWorld(), signaturetest.ECDSA(t)
	w.slow = "slow.test"
	w.material[digestOf("1.0.0")] = signedBy(key, "1.0.0")
	by := rules(t, key.Public)
	play(t, verify.Config{}, w, func(c *verify.Checker) {
		w.release = make(chan struct{})
		var many []policy.Tag
		for i := range 50 {
			many = append(many, *tagged(strconv.Itoa(i)))
		}
		c.Check("slow.test/acme/api", many, by)
		synctest.Wait()
		c.Check(repository, []policy.Tag{*tagged("1.0.0")}, by)
		synctest.Wait()
		want(t, c, tagged("1.0.0"), by, "signed")
		close(w.release)
	})
}

// TestATagThatWasPushedAgain asks what the tag of an image points to that is still not signed.
func TestATagThatWasPushedAgain(t *testing.T) {
	w, key := newWorld(), signaturetest.ECDSA(t)
	by := rules(t, key.Public)
	play(t, verify.Config{}, w, func(c *verify.Checker) {
		c.Check(repository, []policy.Tag{*tagged("1.0.0")}, by)
		<-time.After(time.Minute)
		w.set(func() {
			if !slices.Contains(w.hints, "1.0.0") {
				t.Errorf("hints %q, want one for 1.0.0", w.hints)
			}
		})
	})
}

// TestARepositoryHasItsShare keeps places for the others, and says so.
func TestARepositoryHasItsShare(t *testing.T) {
	w, key := newWorld(), signaturetest.ECDSA(t)
	by := rules(t, key.Public)
	play(t, verify.Config{}, w, func(c *verify.Checker) {
		var many []policy.Tag
		for i := range 1001 {
			many = append(many, *tagged(strconv.Itoa(i)))
		}
		c.Check(repository, many, by)
		want(t, c, &many[1000], by, "1000 images")
		<-time.After(90 * time.Minute)
		want(t, c, &many[1000], by, "unchecked")
	})
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := verify.Config{Keys: map[string]string{"release": "/keys/cosign.pub"}}
	if err := good.Validate(); err != nil {
		t.Errorf("Validate(): %v", err)
	}
	for _, bad := range []map[string]string{{"Release": "/keys/cosign.pub"}, {"release": ""}} {
		if err := (&verify.Config{Keys: bad}).Validate(); err == nil {
			t.Errorf("Validate(): %v is accepted", bad)
		}
	}
}
