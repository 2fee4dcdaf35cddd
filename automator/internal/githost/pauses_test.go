package githost_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/githost"
	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// busyHost answers for GitHub without a network. It has had too much of one installation, by its token.
type busyHost struct {
	limited string
	asked   map[string]int // by repository
}

func (h *busyHost) RoundTrip(r *http.Request) (*http.Response, error) {
	var m struct {
		Variables struct {
			Input struct {
				Branch struct {
					Repository string `json:"repositoryNameWithOwner"`
				}
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		return nil, err
	}
	h.asked[m.Variables.Input.Branch.Repository]++
	answer := httptest.NewRecorder()
	if r.Header.Get("Authorization") == "Bearer "+h.limited {
		answer.Header().Set("Retry-After", "600")
		answer.WriteHeader(http.StatusForbidden)
		_, err := io.WriteString(answer, `{"message": "You have exceeded a secondary rate limit."}`)
		return answer.Result(), err
	}
	_, err := fmt.Fprintf(answer, `{"data": {"createCommitOnBranch": {"commit": {"oid": %q}}}}`, strings.Repeat("a", 40))
	return answer.Result(), err
}

// of is what makes commits in a repository as an installation.
func (h *busyHost) of(t *testing.T, installation, remote string, pauses *githost.Pauses) *githost.Commits {
	t.Helper()
	app := githost.App{ID: "tandem", Installation: installation, KeyFile: "app.pem"}
	tokens := shortlived.New("token", func(context.Context) (shortlived.Credentials, error) {
		return shortlived.Credentials{Password: "of-" + installation, Expires: time.Now().Add(24 * time.Hour)}, nil
	})
	connect := func() (*tls.Config, error) { return &tls.Config{MinVersion: tls.VersionTLS12}, nil }
	commits, err := app.Commits(remote, tokens, connect, pauses)
	if err != nil {
		t.Fatal(err)
	}
	return commits.Through(h)
}

// What a host has had too much of is an installation, so that none of its repositories asks until it said.
func TestPauseOfAnInstallation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		host, pauses := &busyHost{limited: "of-1", asked: map[string]int{}}, &githost.Pauses{}
		deploy, fleet := host.of(t, "1", "https://github.com/acme/deploy", pauses), host.of(t, "1", "https://github.com/acme/fleet", pauses)
		other := host.of(t, "2", "https://github.com/initech/deploy", pauses)
		enterprise := (&busyHost{asked: host.asked}).of(t, "1", "https://git.example.com/acme/web", pauses)
		says := func(commits *githost.Commits, want string, after time.Duration) {
			t.Helper()
			_, err := commits.Commit(t.Context(), edit(gitobject.ID{}))
			if got := outcome(err); got != want {
				t.Errorf("Commit: %s (%v), want %s", got, err, want)
			}
			if later, ok := errors.AsType[*githost.LaterError](err); ok && later.After != after {
				t.Errorf("Commit: again in %s, want %s", later.After, after)
			}
		}
		says(deploy, "later", 10*time.Minute)
		<-time.After(9 * time.Minute)
		says(fleet, "later", time.Minute)
		says(deploy, "later", time.Minute)
		says(other, "made", 0)
		says(enterprise, "made", 0)
		host.limited = ""
		<-time.After(time.Minute)
		says(fleet, "made", 0)
		says(deploy, "made", 0)
		want := map[string]int{"acme/deploy": 2, "acme/fleet": 1, "initech/deploy": 1, "acme/web": 1}
		if diff := cmp.Diff(want, host.asked); diff != "" {
			t.Errorf("asked: -want, +got:\n%s", diff)
		}
	})
}

// The App is limited in its requests for tokens too, whichever repository and installation they are for.
func TestPauseOfTokens(t *testing.T) {
	t.Parallel()
	key, file := newKey(t)
	var asked atomic.Int32
	host := newHost(t, key, "")
	host.Answer(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	pauses := &githost.Pauses{}
	for _, tc := range []struct {
		app, installation, remote string
		asked                     int32
	}{
		{"tandem", "1", "https://git.example.com/acme/deploy", 1},
		{"tandem", "1", "https://git.example.com/acme/fleet", 1},
		{"tandem", "2", "https://git.example.com/initech/deploy", 1},
		{"another", "3", "https://git.example.com/acme/deploy", 2},
	} {
		app := githost.App{ID: tc.app, Installation: tc.installation, KeyFile: file, API: host.API()}
		source, err := app.Source(tc.remote, host.Trusting, pauses)
		if err != nil {
			t.Fatal(err)
		}
		_, err = source.Credentials(t.Context())
		later, ok := errors.AsType[*githost.LaterError](err)
		if !ok || later.After < 9*time.Minute || !fault.Is(err, fault.Unavailable) {
			t.Errorf("Credentials: %v, want that they are asked for later", err)
		}
		if asked.Load() != tc.asked {
			t.Errorf("%+v: the host was asked %d times", tc, asked.Load())
		}
	}
}
