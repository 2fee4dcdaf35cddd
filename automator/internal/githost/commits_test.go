package githost_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/githosttest"
	"github.com/tandem-cd/tandem/automator/internal/githost"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo/gitrepotest"
	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// repository is a bare repository with a commit on main, and the fake that has it.
func repository(t *testing.T) (*githosttest.FakeGitHub, *githost.Commits, gitobject.ID) {
	t.Helper()
	git := gitrepotest.New(t)
	person := git.Clone(t)
	person.Write(map[string]string{"env/dev/api.yaml": "old\n", "gone.yaml": "x\n", "kept.yaml": "y\n"})
	person.Commit("first")
	person.Push()
	host, commits := start(t, git.Dir)
	return host, commits, tip(t, host)
}

func tip(t *testing.T, host *githosttest.FakeGitHub) gitobject.ID {
	t.Helper()
	id, err := gitobject.ParseID(strings.TrimSpace(gitrepotest.Git(t, host.Dir, "rev-parse", "main")))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func edit(parent gitobject.ID) githost.Commit {
	return githost.Commit{
		Branch: "main", Parent: parent, Message: "shop: api 1.1.0 to dev\n\nbecause\n\nTandem-App: shop\n",
		Files: map[string][]byte{"env/dev/api.yaml": []byte("new\n"), "env/dev/empty.yaml": {}, "gone.yaml": nil},
	}
}

func TestCommit(t *testing.T) {
	t.Parallel()
	host, commits, parent := repository(t)
	id, err := commits.Commit(t.Context(), edit(parent))
	if err != nil || id != tip(t, host) {
		t.Fatalf("Commit: %s, %v; the branch is at %s", id, err, tip(t, host))
	}
	got := gitrepotest.Git(t, host.Dir, "log", "-1", "--format=%P%n%an%n%cn%n%B", "--raw", "--no-abbrev", "main")
	for _, want := range []string{parent.String() + "\ntandem[bot]\nGitHub\nshop: api 1.1.0 to dev\n\nbecause\n\nTandem-App: shop\n", " M\tenv/dev/api.yaml\n", " A\tenv/dev/empty.yaml\n", " D\tgone.yaml\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the commit is\n%s\nwithout %q", got, want)
		}
	}
	if diff := cmp.Diff("new\n", gitrepotest.Git(t, host.Dir, "show", "main:env/dev/api.yaml")); diff != "" {
		t.Errorf("file: -want, +got:\n%s", diff)
	}
}

func TestCommitOnABranchThatMoved(t *testing.T) {
	t.Parallel()
	host, commits, parent := repository(t)
	first, err := commits.Commit(t.Context(), edit(parent))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := commits.Commit(t.Context(), edit(parent)); !fault.Is(err, fault.Conflict) {
		t.Errorf("Commit: %v, want a lost race", err)
	}
	if got := tip(t, host); got != first {
		t.Errorf("the branch is at %s, want %s", got, first)
	}
}

// A token that ended before its time is replaced, once for each commit.
func TestCommitWithATokenThatEnded(t *testing.T) {
	t.Parallel()
	host, commits, parent := repository(t)
	first, err := commits.Commit(t.Context(), edit(parent))
	if err != nil {
		t.Fatal(err)
	}
	host.Expire()
	again := edit(first)
	again.Files = map[string][]byte{"kept.yaml": []byte("z\n")}
	second, err := commits.Commit(t.Context(), again)
	if err != nil || second != tip(t, host) {
		t.Errorf("Commit: %s, %v", second, err)
	}
	host.Expire()
	again.Parent = second
	if _, err := commits.Commit(t.Context(), again); !fault.Is(err, fault.Unauthorized) || strings.Contains(err.Error(), "ghs_") {
		t.Errorf("Commit with tokens that end at once: %v", err)
	}
}

// roundTripFunc answers for a host without a network.
type roundTripFunc func(r *http.Request) (*http.Response, error)

func (fn roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return fn(r) }

// Tokens that end and are replaced while they are shown are no refusal, and nothing is done by them; nor is a token that comes too late.
func TestCommitWithNoToken(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		issuing time.Duration
		asked   int
	}{
		"Refused": {0, 2},
		"TooLate": {time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				issued, asked := 0, 0
				tokens := shortlived.New("token", func(ctx context.Context) (shortlived.Credentials, error) {
					issued++
					select {
					case <-time.After(tc.issuing):
						return shortlived.Credentials{Password: fmt.Sprint("ghs_", issued), Expires: time.Now().Add(time.Second)}, nil
					case <-ctx.Done():
						return shortlived.Credentials{}, context.Cause(ctx)
					}
				})
				host := roundTripFunc(func(r *http.Request) (*http.Response, error) {
					asked++
					<-time.After(2 * time.Second)
					_, err := tokens.Credentials(r.Context()) // somebody else has it replaced
					answer := httptest.NewRecorder()
					answer.WriteHeader(http.StatusUnauthorized)
					return answer.Result(), err
				})
				app := githost.App{ID: "tandem", Installation: "1", KeyFile: "app.pem"}
				connect := func() (*tls.Config, error) { return &tls.Config{MinVersion: tls.VersionTLS12}, nil }
				commits, err := app.Commits("https://github.com/acme/deploy", tokens, connect, &githost.Pauses{})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				_, err = commits.Through(host).Commit(ctx, edit(gitobject.ID{}))
				if !fault.Is(err, fault.Unavailable) || asked != tc.asked {
					t.Errorf("Commit: %v, want that it is unavailable; asked %d times, want %d", err, asked, tc.asked)
				}
				<-time.After(tc.issuing) // the source asks on for others
			})
		})
	}
}

// outcome is a kind of error in a word.
func outcome(err error) string {
	later := &githost.LaterError{}
	switch {
	case err == nil:
		return "made"
	case errors.Is(err, githost.ErrOutcomeUnknown):
		return "unknown"
	case errors.As(err, &later):
		return "later"
	case fault.Is(err, fault.Conflict):
		return "lost"
	case fault.Is(err, fault.Unauthorized):
		return "refused"
	case fault.Is(err, fault.Invalid):
		return "invalid"
	}
	return err.Error()
}

// headers are pairs of a name and a value.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestPause(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	reset := func(after time.Duration) string { return fmt.Sprint(now.Add(after).Unix()) }
	for name, tc := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"Silent":    {headers(), time.Minute},
		"Retry":     {headers("Retry-After", "120"), 2 * time.Minute},
		"Forever":   {headers("Retry-After", "99999999999"), time.Hour},
		"Nonsense":  {headers("Retry-After", "-1"), time.Second},
		"Reset":     {headers("X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", reset(10*time.Minute)), 10 * time.Minute},
		"ResetWas":  {headers("X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", reset(-time.Hour)), time.Second},
		"ResetLate": {headers("X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", reset(24*time.Hour)), time.Hour},
		"LeftOver":  {headers("X-Ratelimit-Remaining", "7", "X-Ratelimit-Reset", reset(10*time.Minute)), time.Minute},
	} {
		if got := githost.Pause(tc.header, now); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	wrong := func(kind string) string {
		return fmt.Sprintf(`{"data": {"createCommitOnBranch": null}, "errors": [{"type": %q, "message": "why ghs_of-the-installation-1"}]}`, kind)
	}
	tests := map[string]struct {
		status int
		header http.Header
		body   string
		want   string
	}{
		"Stale":          {status: 200, body: wrong("STALE_DATA"), want: "lost"},
		"Forbidden":      {status: 200, body: wrong("FORBIDDEN"), want: "refused"},
		"Rules":          {status: 200, body: wrong("UNPROCESSABLE"), want: "refused"},
		"Limited":        {status: 200, body: wrong("RATE_LIMITED"), want: "later"},
		"TimedOut":       {status: 200, body: `{"errors": [{"message": "Something went wrong while executing your query."}]}`, want: "unknown"},
		"NewType":        {status: 200, body: wrong("SOMETHING_ELSE"), want: "unknown"},
		"Nothing":        {status: 200, body: `{}`, want: "unknown"},
		"NoID":           {status: 200, body: `{"data": {"createCommitOnBranch": {"commit": {"oid": "main"}}}}`, want: "unknown"},
		"NoJSON":         {status: 200, body: "<html>", want: "unknown"},
		"TooLong":        {status: 200, body: strings.Repeat(" ", 65<<10) + "{}", want: "unknown"},
		"MadeAndErrors":  {status: 200, body: `{"data": {"createCommitOnBranch": {"commit": {"oid": "` + strings.Repeat("a", 40) + `"}}}, "errors": [{"message": "x"}]}`, want: "made"},
		"Retry":          {status: 403, header: headers("Retry-After", "120"), body: `{"message": "You have exceeded a secondary rate limit"}`, want: "later"},
		"Secondary":      {status: 403, body: `{"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}`, want: "later"},
		"SecondaryIn200": {status: 200, body: `{"errors": [{"type": "FORBIDDEN", "message": "You have exceeded a secondary rate limit."}]}`, want: "later"},
		"TooMany":        {status: 429, body: `{"message": "slow down"}`, want: "later"},
		"UsedUp":         {status: 403, header: headers("X-Ratelimit-Remaining", "0"), want: "later"},
		"NotOurs":        {status: 403, body: `{"message": "Resource not accessible by integration"}`, want: "refused"},
		"NotThere":       {status: 404, body: `{"message": "Not Found"}`, want: "refused"},
		"Redirect":       {status: 307, header: headers("Location", "https://evil.example.com/"), want: "refused"},
		"TooLarge":       {status: 413, want: "invalid"},
		"Accepted":       {status: 202, body: `{}`, want: "unknown"},
		"RequestTimeout": {status: 408, want: "unknown"},
		"BadGateway":     {status: 502, body: "<html>", want: "unknown"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, commits := start(t, "")
			host.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
				for key := range tc.header {
					w.Header().Set(key, tc.header.Get(key))
				}
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			})
			_, err := commits.Commit(t.Context(), edit(gitobject.ID{}))
			if got := outcome(err); got != tc.want {
				t.Errorf("Commit: %s (%v), want %s", got, err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "ghs_") {
				t.Errorf("a token is in %v", err)
			}
		})
	}
}

// A host that does what it is asked and says that it failed leaves the outcome open.
func TestFailureAfterTheCommit(t *testing.T) {
	t.Parallel()
	host, commits, parent := repository(t)
	host.Intercept(func(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
		answer(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusBadGateway)
	})
	if _, err := commits.Commit(t.Context(), edit(parent)); outcome(err) != "unknown" {
		t.Errorf("Commit: %v", err)
	}
	if tip(t, host) == parent {
		t.Error("the fake made no commit")
	}
	host.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) { gitrepotest.Cut(w) })
	if _, err := commits.Commit(t.Context(), edit(parent)); outcome(err) != "unknown" {
		t.Errorf("Commit whose connection is cut: %v", err)
	}
}

// A host that had too much is left alone, whichever branch a commit is for, and asked again when it said.
func TestHostIsLeftAlone(t *testing.T) {
	t.Parallel()
	host, commits, parent := repository(t)
	var asked atomic.Int32
	host.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		asked.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"message": "slow down"}`)
	})
	other := edit(parent)
	other.Branch = "release"
	for _, commit := range []githost.Commit{edit(parent), other} {
		_, err := commits.Commit(t.Context(), commit)
		later, ok := errors.AsType[*githost.LaterError](err)
		if !ok || later.After < time.Minute || !strings.Contains(err.Error(), "slow down") {
			t.Errorf("Commit: %v", err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("the host was asked %d times", asked.Load())
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	host, commits, parent := repository(t)
	many := edit(parent)
	many.Files = map[string][]byte{}
	for i := range githost.MaxFiles + 1 {
		many.Files[fmt.Sprintf("f%d", i)] = nil
	}
	large := edit(parent)
	large.Files = map[string][]byte{"a": make([]byte, githost.MaxBytes/2), "b": make([]byte, githost.MaxBytes/2+1)}
	for name, commit := range map[string]githost.Commit{"Files": many, "Bytes": large} {
		if _, err := commits.Commit(t.Context(), commit); outcome(err) != "invalid" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if host.Asked() > 0 {
		t.Errorf("the host was asked %d times", host.Asked())
	}
	large.Files = map[string][]byte{"a": make([]byte, githost.MaxBytes)}
	if _, err := commits.Commit(t.Context(), large); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

func TestWhereGraphQLIs(t *testing.T) {
	t.Parallel()
	for api, want := range map[string]string{
		"https://api.github.com":          "https://api.github.com/graphql",
		"https://git.example.com/api/v3":  "https://git.example.com/api/graphql",
		"https://git.example.com/api/v3/": "https://git.example.com/api/graphql",
	} {
		if got := githost.GraphQL(api); got != want {
			t.Errorf("GraphQL(%q) = %q, want %q", api, got, want)
		}
	}
}
