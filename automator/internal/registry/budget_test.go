package registry

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func answer(status int, retryAfter string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}}
	if retryAfter != "" {
		resp.Header.Set("Retry-After", retryAfter)
	}
	return resp
}

func TestBudgetBacksOffAndRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget("registry.test", 8)
		for range 5 { // of requests that were under way together
			b.observe(answer(http.StatusTooManyRequests, "20"))
		}
		if got := float64(b.limiter.Limit()); got != 4 {
			t.Errorf("one wave of complaints: %v requests a second, want half of 8", got)
		}
		var limited *RateLimitedError
		if err := b.wait(t.Context()); !errors.As(err, &limited) || limited.After != 20*time.Second {
			t.Fatalf("wait: %v, want 20 s of pause", err)
		}
		<-time.After(20 * time.Second)
		if err := b.wait(t.Context()); err != nil {
			t.Fatalf("wait after the pause: %v", err)
		}
		var rates []float64
		for range 4 {
			<-time.After(recoverEvery)
			if err := b.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			rates = append(rates, float64(b.limiter.Limit()))
		}
		if diff := cmp.Diff([]float64{6, 8, 8, 8}, rates); diff != "" {
			t.Errorf("recovery: -want, +got:\n%s", diff)
		}
	})
}

func TestBudgetHasAFloor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget("registry.test", 8)
		for range 20 {
			b.observe(answer(http.StatusTooManyRequests, "1"))
			<-time.After(2 * time.Second)
		}
		if got := float64(b.limiter.Limit()); got != budgetFloor {
			t.Errorf("%v requests a second, want the floor", got)
		}
	})
}

func TestBudgetPaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget("registry.test", 10)
		start := time.Now()
		for range 20 + 10 {
			if err := b.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(start); got < 990*time.Millisecond || got > 1010*time.Millisecond {
			t.Errorf("a burst of 20 and 10 more took %s, want 1 s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		start = time.Now()
		if err := b.wait(ctx); err == nil || time.Since(start) != 0 {
			t.Errorf("wait: %v after %s, want an error at once: the budget comes too late", err, time.Since(start))
		}
	})
}

func TestObserveIgnoresOtherAnswers(t *testing.T) {
	t.Parallel()
	for _, resp := range []*http.Response{answer(200, "20"), answer(500, "20"), answer(503, ""), answer(404, "")} {
		b := newBudget("registry.test", 8)
		b.observe(resp)
		if err := b.paused(); err != nil {
			t.Errorf("after %d: %v", resp.StatusCode, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := map[string]struct {
		header string
		want   time.Duration
		named  bool
	}{
		"Seconds":  {"120", 2 * time.Minute, true},
		"Date":     {"Fri, 02 Jan 2026 03:05:05 GMT", time.Minute, true},
		"Past":     {"Fri, 02 Jan 2026 03:00:00 GMT", time.Second, true},
		"Zero":     {"0", time.Second, true},
		"TooLong":  {"4000000000", maxRetryAfter, true},
		"Negative": {"-5", defaultRetryAfter, false},
		"Overflow": {"99999999999999999999", defaultRetryAfter, false},
		"Nonsense": {"soon", defaultRetryAfter, false},
		"Absent":   {"", defaultRetryAfter, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, named := retryAfter(tc.header, now); got != tc.want || named != tc.named {
				t.Errorf("retryAfter(%q) = %s, %v; want %s, %v", tc.header, got, named, tc.want, tc.named)
			}
		})
	}
}

func TestDockerConfigScopes(t *testing.T) {
	t.Parallel()
	const text = `{"auths":{
		"https://index.docker.io/v1/": {"auth":"aHViOnB3"},
		"ghcr.io": {"username":"wide","password":"pw"},
		"ghcr.io/acme": {"username":"narrow","password":"pw"},
		"https://quay.example.com/v2/": {"identitytoken":"idt"}
	}, "credHelpers": {"123.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login"}, "credsStore": "desktop"}`
	tests := map[string]string{
		"index.docker.io/library/nginx": "hub",
		"ghcr.io/acme/api":              "narrow",
		"ghcr.io/acme2/api":             "wide",
		"ghcr.io.evil.test/acme/api":    "",
		"other.test/acme/api":           "",
	}
	for repository, want := range tests {
		got, err := fromDockerConfig("config.json", text, repository)
		if err != nil || got.Username != want {
			t.Errorf("%s: user %q, error %v; want %q", repository, got.Username, err, want)
		}
	}
	if got, err := fromDockerConfig("config.json", text, "quay.example.com/a/b"); err != nil || got.IdentityToken != "idt" {
		t.Errorf("identity token: %+v, %v", got, err)
	}
	if _, err := fromDockerConfig("config.json", text, "123.dkr.ecr.eu-west-1.amazonaws.com/a"); err == nil {
		t.Error("a credential helper that is not run should be said, not ignored")
	}
}
