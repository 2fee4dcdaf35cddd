package webhook

import (
	"crypto/sha256"
	"hash"
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
