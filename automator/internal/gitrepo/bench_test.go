package gitrepo_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
)

// BenchmarkCommit compares what we do with what git alone needs: a signed commit of one file pushed over loopback HTTP,
// and a bare `git push` of such a commit.
func BenchmarkCommit(b *testing.B) {
	for _, files := range []int{10, 5000} {
		s := large(b, files)
		r := fetched(b, s)
		if err := r.Maintain(b.Context()); err != nil {
			b.Fatal(err)
		}
		signer := testSigner(b)
		n := 0
		write := func(b *testing.B) gitrepo.RefUpdate {
			b.Helper()
			n++
			base := tip(b, r, mainRef)
			changes := map[string][]byte{"d0/e0/f0.yaml": fmt.Appendf(nil, "image: app:%d\n", n)}
			commit, err := r.WriteFiles(b.Context(), base, changes, meta(fmt.Sprintf("update %d\n", n), signer))
			if err != nil {
				b.Fatal(err)
			}
			return gitrepo.RefUpdate{Ref: mainRef, Old: base, New: commit}
		}
		b.Run(fmt.Sprintf("files=%d/commit", files), func(b *testing.B) {
			for b.Loop() {
				write(b)
			}
		})
		b.Run(fmt.Sprintf("files=%d/commit+push", files), func(b *testing.B) {
			for b.Loop() {
				if err := r.Push(b.Context(), []gitrepo.RefUpdate{write(b)}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("files=%d/fetch-nothing", files), func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Fetch(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("files=%d/git-push", files), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				update := write(b)
				b.StartTimer()
				cmd := exec.CommandContext(b.Context(), "git", "push", "--quiet", s.URL(), update.New.String()+":"+mainRef)
				cmd.Dir = r.GitDir()
				cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				b.StopTimer()
				if _, err := r.Fetch(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// large is a host whose main has one commit of many files, a hundred in a directory.
func large(b *testing.B, files int) *gitrepotest.Server {
	b.Helper()
	s := gitrepotest.New(b)
	var stream strings.Builder
	stream.WriteString("commit refs/heads/main\ncommitter Ann <ann@example.com> 1700000000 +0000\ndata 5\nfirst\n")
	for i := range files {
		content := fmt.Sprintf("image: app:%d\n", i)
		fmt.Fprintf(&stream, "M 100644 inline d%d/e%d/f%d.yaml\ndata %d\n%s\n", i/1000, i/100%10, i%100, len(content), content)
	}
	cmd := exec.CommandContext(b.Context(), "git", "fast-import", "--quiet")
	cmd.Dir, cmd.Stdin = s.Dir, strings.NewReader(stream.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return s
}
