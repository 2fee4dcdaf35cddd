package verify_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/verify"
	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

// shelf keeps signatures in memory.
type shelf struct {
	mu   sync.Mutex
	kept map[string]signature.Material
	puts int
	then func() // what happens just after the next look
}

func (s *shelf) Signatures(_ context.Context, repository, digest string) (signature.Material, bool, error) {
	s.mu.Lock()
	m, found := s.kept[repository+"@"+digest]
	then := s.then
	s.then = nil
	s.mu.Unlock()
	if then != nil {
		then()
	}
	return m, found, nil
}

func (s *shelf) PutSignatures(_ context.Context, repository, digest string, m signature.Material) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	if len(m.Items) == 0 {
		delete(s.kept, repository+"@"+digest)
		return nil
	}
	s.kept[repository+"@"+digest] = m.Relayed()
	return nil
}

// bring runs a test in a bubble with evidence of a registry.
func bring(t *testing.T, test func(t *testing.T, w *world, s *shelf, e *verify.Evidence)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &shelf{kept: map[string]signature.Material{}}
		log, _ := logtest.New(t)
		test(t, w, s, verify.NewEvidence(verify.Sources{Registry: w, Keeper: s, Named: w.names, Log: log}))
	})
}

var api = signature.Image{Repository: repository, Digest: digestOf("1.0.0")}

// has asks for what is known, as a cluster that has seen a version does, and returns the new version.
func has(t *testing.T, e *verify.Evidence, seen []byte, want int) []byte {
	t.Helper()
	m, version, err := e.For(t.Context(), "dev", api, seen)
	if err != nil || len(m.Items) != want {
		t.Errorf("For(...): %d signatures, %v; want %d", len(m.Items), err, want)
	}
	return version
}

func TestWhatIsKeptIsBroughtWithoutAsking(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, s *shelf, e *verify.Evidence) {
		t.Helper()
		w.material[api.Digest] = signedBy(signaturetest.ECDSA(t), "1.0.0")
		for range 2 { // as the checker does
			if m, err := e.Signatures(t.Context(), api.Repository, api.Digest); err != nil || len(m.Items) != 1 {
				t.Fatalf("Signatures(...): %v, %v", m, err)
			}
		}
		if s.puts != 1 {
			t.Errorf("written %d times; want once, since nothing was new", s.puts)
		}
		w.down = errBoom
		asked := w.asked
		version := has(t, e, nil, 1)
		if w.asked != asked {
			t.Error("the registry was asked for what is kept")
		}
		has(t, e, version, 1) // not enough, but there is no more
		if w.asked != asked+1 {
			t.Errorf("the registry was asked %d times for more; want once", w.asked-asked)
		}
	})
}

func TestRegistriesAreNotAskedAtEveryCall(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, _ *shelf, e *verify.Evidence) {
		t.Helper()
		var version []byte
		for range 10 {
			version = has(t, e, version, 0)
		}
		if w.asked != 1 {
			t.Errorf("asked %d times in a moment; want once", w.asked)
		}
		w.material[api.Digest] = signedBy(signaturetest.ECDSA(t), "1.0.0")
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		if first := version; slices.Equal(has(t, e, first, 1), first) {
			t.Error("what is new has the same version")
		}
		w.down = errBoom
		other := signature.Image{Repository: repository, Digest: digestOf("2.0.0")}
		for range 3 {
			if _, _, err := e.For(t.Context(), "dev", other, nil); err == nil {
				t.Error("nothing is known, and the registry does not answer, and there is no error")
			}
		}
		if w.asked != 3 {
			t.Errorf("asked %d times; want once more", w.asked)
		}
	})
}

func TestManyClustersAskARegistryOnce(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, _ *shelf, e *verify.Evidence) {
		t.Helper()
		w.material[api.Digest] = signedBy(signaturetest.ECDSA(t), "1.0.0")
		w.slow, w.release = "registry.test", make(chan struct{})
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { has(t, e, nil, 1) })
		}
		synctest.Wait()
		close(w.release)
		all.Wait()
		if got := w.questions(); got != 1 {
			t.Errorf("asked %d times; want once for all", got)
		}
	})
}

// TestWhoComesJustAfterAnAnswer looks at what is kept before another's question is answered, and asks after that.
func TestWhoComesJustAfterAnAnswer(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, s *shelf, e *verify.Evidence) {
		t.Helper()
		w.material[api.Digest] = signedBy(signaturetest.ECDSA(t), "1.0.0")
		var others []byte
		s.then = func() { others = has(t, e, nil, 1) }
		if mine := has(t, e, nil, 1); !slices.Equal(mine, others) {
			t.Error("told another version than who asked")
		}
		if got := w.questions(); got != 1 {
			t.Errorf("asked %d times; want once", got)
		}
	})
}

func TestASlowRegistryKeepsNobodyFromOthers(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, _ *shelf, e *verify.Evidence) {
		t.Helper()
		w.slow, w.release = "slow.test", make(chan struct{})
		w.material[api.Digest] = signedBy(signaturetest.ECDSA(t), "1.0.0")
		began := time.Now()
		var all sync.WaitGroup
		for _, tag := range []string{"a", "b", "c", "d", "e", "f", "g"} {
			all.Go(func() {
				_, _, _ = e.For(t.Context(), "dev", signature.Image{Repository: "slow.test/acme/api", Digest: digestOf(tag)}, nil)
			})
		}
		synctest.Wait()
		has(t, e, nil, 1)
		if took := time.Since(began); took != 0 {
			t.Errorf("a registry that answers: waited %s for it", took)
		}
		all.Wait()
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("seven images at a registry that does not answer: waited %s for", took)
		}
	})
}

func TestSignaturesThatAreLostStayLost(t *testing.T) {
	t.Parallel()
	bring(t, func(t *testing.T, w *world, _ *shelf, e *verify.Evidence) {
		t.Helper()
		w.material[api.Digest] = signedBy(signaturetest.ECDSA(t), "1.0.0")
		version := has(t, e, nil, 1)
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		delete(w.material, api.Digest)
		for range 3 {
			version = has(t, e, version, 0)
		}
	})
}
