package gitrepo_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
)

// What others push is fetched, what we write is pushed, and all history is read while the mirror is tidied up again and again.
func TestWorkGoesOnDuringMaintain(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n", "theirs": "0\n"})
	r := fetched(t, s)
	first := tip(t, r, mainRef)
	tidying, stop := context.WithCancel(t.Context())
	var tidied atomic.Int32
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		for tidying.Err() == nil {
			if err := r.Maintain(t.Context()); err != nil {
				t.Errorf("Maintain: %v", err)
				return
			}
			tidied.Add(1)
		}
	})
	const rounds, most, enough = 5, 100, 2
	for i := 0; i < rounds || tidied.Load() < enough; i++ {
		if i == most {
			t.Fatalf("tidied up %d times in %d rounds", tidied.Load(), i)
		}
		c.Write(map[string]string{"theirs": fmt.Sprintf("%d\n", i+1)})
		c.Commit("theirs")
		c.PushAfterPull()
		if err := r.FetchRef(t.Context(), mainRef); err != nil {
			t.Fatal(err)
		}
		if err := r.Push(t.Context(), []gitrepo.RefUpdate{edit(t, r, fmt.Sprintf("%d\n", i+2))}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		chain, err := r.Chain(t.Context(), first, tip(t, r, mainRef))
		if err != nil || len(chain) != 2*(i+1) {
			t.Fatalf("Chain has %d commits, want %d: %v", len(chain), 2*(i+1), err)
		}
		for _, id := range chain {
			commit, err := r.Commit(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			tree, err := r.Tree(t.Context(), commit.Tree)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range tree {
				if _, err := r.Blob(t.Context(), entry.ID); err != nil {
					t.Fatalf("%s of round %d: %v", entry.Name, i, err)
				}
			}
		}
	}
}
