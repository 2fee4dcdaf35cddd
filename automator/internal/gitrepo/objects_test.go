package gitrepo_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

func TestReadObjects(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"env/dev/app.yaml": "image: a\n"})
	gitrepotest.Git(t, c.Dir, "tag", "-a", "-m", "one", "v1")
	gitrepotest.Git(t, c.Dir, "tag", "-a", "-m", "two", "v2", "v1")
	c.Push("v1", "v2")
	r := fetched(t, s)
	ctx := t.Context()
	head := tip(t, r, mainRef)

	commit, err := r.Commit(ctx, head)
	if err != nil || commit.Message != "first\n" {
		t.Fatalf("Commit = %+v, %v", commit, err)
	}
	entry, found, err := gitobject.Lookup(ctx, r, commit.Tree, "env/dev/app.yaml")
	if err != nil || !found {
		t.Fatalf("Lookup = %t, %v", found, err)
	}
	if content, err := r.Blob(ctx, entry.ID); err != nil || string(content) != "image: a\n" {
		t.Errorf("Blob = %q, %v", content, err)
	}
	if size, err := r.BlobSize(ctx, entry.ID); err != nil || size != int64(len("image: a\n")) {
		t.Errorf("BlobSize = %d, %v", size, err)
	}
	if commit, tag, ok := r.Resolve(ctx, mainRef); !ok || commit != head || !tag.IsZero() {
		t.Errorf("Resolve(main) = %s, %s, %t", commit, tag, ok)
	}
	if commit, tag, ok := r.Resolve(ctx, "refs/tags/v1"); !ok || commit != head || tag != tip(t, r, "refs/tags/v1") {
		t.Errorf("Resolve(v1) = %s, %s, %t", commit, tag, ok)
	}
	if _, _, ok := r.Resolve(ctx, "refs/tags/v9"); ok {
		t.Error("Resolve found a ref that is not there")
	}
	tag, err := r.Tag(ctx, tip(t, r, "refs/tags/v1"))
	if err != nil || tag.Object != head {
		t.Errorf("Tag = %+v, %v", tag, err)
	}
	for _, from := range []gitobject.ID{head, tip(t, r, "refs/tags/v1"), tip(t, r, "refs/tags/v2")} {
		if peeled, err := r.Peel(ctx, from); err != nil || peeled != head {
			t.Errorf("Peel(%s) = %s, %v", from, peeled, err)
		}
	}
	if _, err := r.Peel(ctx, entry.ID); !fault.Is(err, fault.Invalid) {
		t.Errorf("Peel of a blob: %v", err)
	}
	if _, err := r.Commit(ctx, entry.ID); !fault.Is(err, fault.Invalid) {
		t.Errorf("Commit of a blob: %v", err)
	}
	if _, err := r.Blob(ctx, id(t, strings.Repeat("1", 40))); !fault.Is(err, fault.NotFound) {
		t.Errorf("Blob of nothing: %v", err)
	}
	if _, err := r.Blob(ctx, gitobject.ID{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("Blob of the zero id: %v", err)
	}
}

func TestReadBeforeFetch(t *testing.T) {
	t.Parallel()
	r := open(t, gitrepotest.New(t))
	if _, err := r.Blob(t.Context(), id(t, strings.Repeat("1", 40))); !fault.Is(err, fault.NotFound) {
		t.Errorf("Blob: %v", err)
	}
}

// The pooled process may die, or be killed by the memory's end, at any time.
func TestReaderDies(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	head := tip(t, r, mainRef)
	for range 3 {
		if _, _, err := r.Object(t.Context(), head); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(r.ReaderPID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errBoom)
	if _, _, err := r.Object(cancelled, head); !errors.Is(err, errBoom) {
		t.Errorf("read under a context that has ended: %v", err)
	}
	if _, _, err := r.Object(t.Context(), head); err != nil {
		t.Errorf("read after one that was cut off: %v", err)
	}
}

var errBoom = errors.New("boom")

func TestReadTooLarge(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"large": strings.Repeat("x", gitobject.MaxObjectSize+1), "small": "1\n"})
	r := fetched(t, s)
	large := id(t, gitrepotest.Git(t, c.Dir, "rev-parse", "HEAD:large")[:40])
	small := id(t, gitrepotest.Git(t, c.Dir, "rev-parse", "HEAD:small")[:40])
	if _, err := r.Blob(t.Context(), large); !fault.Is(err, fault.Invalid) {
		t.Errorf("a blob past the limit: %v", err)
	}
	if size, err := r.BlobSize(t.Context(), large); err != nil || size != gitobject.MaxObjectSize+1 {
		t.Errorf("BlobSize = %d, %v", size, err)
	}
	if content, err := r.Blob(t.Context(), small); err != nil || string(content) != "1\n" {
		t.Errorf("the next read = %q, %v", content, err)
	}
}

func TestConcurrentReads(t *testing.T) {
	t.Parallel()
	s, c := seeded(t, map[string]string{"a": "1\n", "b/c": "2\n"})
	r := fetched(t, s)
	a := id(t, gitrepotest.Git(t, c.Dir, "rev-parse", "HEAD:a")[:40])
	bc := id(t, gitrepotest.Git(t, c.Dir, "rev-parse", "HEAD:b/c")[:40])
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				want, from := "1\n", a
				if i%2 == 1 {
					want, from = "2\n", bc
				}
				if got, err := r.Blob(t.Context(), from); err != nil || string(got) != want {
					t.Errorf("Blob = %q, %v, want %q", got, err, want)
				}
			}
		})
	}
	wg.Wait()
}
