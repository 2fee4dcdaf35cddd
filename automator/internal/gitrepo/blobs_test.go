package gitrepo_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// blobs reads many files into lines: what they have, or of which kind the error is.
func blobs(t *testing.T, r *gitrepo.Repo, ids []gitobject.ID) []string {
	t.Helper()
	var lines []string
	err := r.Blobs(t.Context(), ids, func(i int, content []byte, err error) error {
		if i != len(lines) {
			t.Errorf("file %d came as number %d", i, len(lines))
		}
		switch {
		case err == nil:
			lines = append(lines, strings.TrimSpace(string(content)))
		case fault.Is(err, fault.NotFound):
			lines = append(lines, "not found")
		case fault.Is(err, fault.Invalid):
			lines = append(lines, "invalid")
		default:
			lines = append(lines, err.Error())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	const many = 1000
	files := map[string]string{}
	for i := range many {
		files[fmt.Sprintf("d/%d", i)] = fmt.Sprintln(i)
	}
	s, c := seeded(t, files)
	r := fetched(t, s)
	ids, want := make([]gitobject.ID, 0, many), make([]string, 0, many)
	for i := range many {
		ids = append(ids, blobID(t, fmt.Sprintln(i)))
		want = append(want, fmt.Sprint(i))
	}
	ids[300], want[300] = id(t, strings.Repeat("1", 40)), "not found"
	ids[301], want[301] = id(t, gitrepotest.Git(t, c.Dir, "rev-parse", "HEAD:d")[:40]), "invalid"
	if diff := cmp.Diff(want, blobs(t, r, ids)); diff != "" {
		t.Errorf("Blobs: -want, +got:\n%s", diff)
	}
	if err := syscall.Kill(r.ReaderPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, blobs(t, r, ids)); diff != "" {
		t.Errorf("Blobs after the process died: -want, +got:\n%s", diff)
	}
}

func TestBlobsPastOneThatIsTooLarge(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", gitobject.MaxObjectSize+1)
	s, c := seeded(t, map[string]string{"a": "1\n", "b": large, "c": "3\n"})
	r := fetched(t, s)
	tooLarge := id(t, gitrepotest.Git(t, c.Dir, "rev-parse", "HEAD:b")[:40])
	ids := []gitobject.ID{blobID(t, "1\n"), tooLarge, blobID(t, "3\n"), tooLarge}
	if diff := cmp.Diff([]string{"1", "invalid", "3", "invalid"}, blobs(t, r, ids)); diff != "" {
		t.Errorf("Blobs: -want, +got:\n%s", diff)
	}
}

func TestBlobsEndWhenTheirUserDoes(t *testing.T) {
	t.Parallel()
	s, _ := seeded(t, map[string]string{"a": "1\n"})
	r := fetched(t, s)
	one := blobID(t, "1\n")
	used := 0
	err := r.Blobs(t.Context(), []gitobject.ID{one, one, one}, func(int, []byte, error) error {
		used++
		return errBoom
	})
	if !errors.Is(err, errBoom) || used != 1 {
		t.Errorf("Blobs: %v after %d files", err, used)
	}
	if content, err := r.Blob(t.Context(), one); err != nil || string(content) != "1\n" {
		t.Errorf("the next read = %q, %v", content, err)
	}
	if err := open(t, s).Blobs(t.Context(), []gitobject.ID{one}, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("Blobs before the first fetch: %v", err)
	}
}

func blobID(t *testing.T, content string) gitobject.ID {
	t.Helper()
	hashed, err := gitobject.Hash(gitobject.SHA1, gitobject.TypeBlob, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return hashed
}
