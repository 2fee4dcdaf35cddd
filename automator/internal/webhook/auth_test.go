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
