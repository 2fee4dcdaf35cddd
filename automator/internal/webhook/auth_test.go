package webhook

import (
	"crypto/sha256"
	"hash"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowHash takes a second for each part.
type slowHash struct {
	hash.Hash

	working, most *atomic.Int32
}

func (h *slowHash) Write(part []byte) (int, error) {
	h.most.Store(max(h.most.Load(), h.working.Add(1)))
	<-time.After(time.Second)
	h.working.Add(-1)
	return len(part), nil
}

// Whoever calls, one body at a time is being hashed.
func TestBodiesAreHashedInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var working, most atomic.Int32
		turn := make(chan struct{}, 1)
		var callers sync.WaitGroup
		for range 3 {
			p := &proof{hashing: turn, macs: []hash.Hash{&slowHash{sha256.New(), &working, &most}, &slowHash{sha256.New(), &working, &most}}}
			callers.Go(func() {
				for range 2 {
					if _, err := p.Write([]byte("part")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		if most.Load() != 1 {
			t.Errorf("%d hashes worked at once, want 1", most.Load())
		}
	})
}

// A large body that is there at once does not keep a small one waiting for all of it.
func TestBodiesAreHashedByEqualParts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var working, most atomic.Int32
		turn := make(chan struct{}, 1)
		write := func(bytes int) {
			p := &proof{hashing: turn, macs: []hash.Hash{&slowHash{sha256.New(), &working, &most}}}
			if n, err := p.Write(make([]byte, bytes)); n != bytes || err != nil {
				t.Errorf("Write(%d bytes): %d, %v", bytes, n, err)
			}
		}
		var callers sync.WaitGroup
		callers.Go(func() { write(MaxBody) })
		synctest.Wait()
		began := time.Now()
		write(hashedAtOnce)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a small body was hashed after %s, want 2s: one part of the large one, and itself", took)
		}
		callers.Wait()
		if took := time.Since(began); took != (MaxBody/hashedAtOnce+1)*time.Second {
			t.Errorf("both bodies were hashed after %s, want a second for each %d bytes", took, hashedAtOnce)
		}
	})
}

// TestAllWhoSignHaveOneTurn has a call wait while the place is taken in which bodies are hashed.
func TestAllWhoSignHaveOneTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ignore := func(string, string) {}
		h, err := New(Config{Callers: []Caller{{Name: "ci", Tokens: []string{strings.Repeat("s", 40)}}}}, Deps{Refused: ignore, Accepted: ignore})
		if err != nil {
			t.Fatal(err)
		}
		h.hashing <- struct{}{}
		answered := make(chan int, 1)
		go func() {
			call := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hooks/github", strings.NewReader("{}"))
			call.Header.Set("Content-Type", "application/json")
			call.Header.Set("X-Hub-Signature-256", strings.Repeat("0", 64))
			recorder := httptest.NewRecorder()
			h.ServeHTTP(recorder, call)
			answered <- recorder.Code
		}()
		synctest.Wait()
		if len(answered) > 0 {
			t.Error("a body was hashed beside another one")
		}
		<-h.hashing
		if code := <-answered; code != http.StatusUnauthorized {
			t.Errorf("answered with %d, want a refusal", code)
		}
	})
}
