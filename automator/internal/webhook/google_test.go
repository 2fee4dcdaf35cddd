package webhook

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// published is a key as it is published, with a modulus of so many bits.
func published(id, kind string, bits uint, exponent int64) map[string]string {
	modulus := new(big.Int).Lsh(big.NewInt(1), bits-1)
	encode := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	return map[string]string{"kty": kind, "kid": id, "n": encode(modulus), "e": encode(big.NewInt(exponent))}
}

func setOf(keys ...map[string]string) []byte {
	body, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return body
}

func TestPublishedKeys(t *testing.T) {
	t.Parallel()
	good := published("1", "RSA", 2048, 65537)
	many := make([]map[string]string, 33)
	for i := range many {
		many[i] = published(fmt.Sprint(i), "RSA", 2048, 65537)
	}
	cases := map[string]struct {
		body []byte
		want []string // ids; none is an error
	}{
		"Good":       {setOf(good, published("2", "RSA", 4096, 3)), []string{"1", "2"}},
		"Weak":       {setOf(good, published("2", "RSA", 2047, 65537)), []string{"1"}},
		"NoExponent": {setOf(good, published("2", "RSA", 2048, 1)), []string{"1"}},
		"Exponent":   {setOf(good, published("2", "RSA", 2048, 1<<40)), []string{"1"}},
		"OtherKind":  {setOf(good, published("2", "EC", 2048, 65537)), []string{"1"}},
		"NoID":       {setOf(good, published("", "RSA", 2048, 65537)), []string{"1"}},
		"NoBase64":   {setOf(good, map[string]string{"kty": "RSA", "kid": "2", "n": "?", "e": "AQAB"}), []string{"1"}},
		"None":       {setOf(published("2", "EC", 2048, 65537)), nil},
		"Empty":      {[]byte(`{}`), nil},
		"NoJSON":     {[]byte(`<html>`), nil},
		"TooMany":    {setOf(many...), nil},
		"Most":       {setOf(many[:2]...), []string{"0", "1"}},
	}
	for name, tc := range cases {
		keys, err := parseKeys(tc.body)
		var ids []string
		for id := range keys {
			ids = append(ids, id)
		}
		if slices.Sort(ids); !slices.Equal(ids, tc.want) || (err == nil) != (tc.want != nil) {
			t.Errorf("%s: keys %q, %v; want %q", name, ids, err, tc.want)
		}
	}
}

// Keys are used for an hour, and for another one while they cannot be read; a look follows the one before after a minute.
func TestKeysHaveALife(t *testing.T) {
	t.Parallel()
	var asked, down atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if down.Load() > 0 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write(setOf(published("1", "RSA", 2048, 65537)))
	}))
	t.Cleanup(server.Close)
	failed := 0
	k := newKeySet(server.URL, server.Client(), func(error) { failed++ })
	now := time.Now()
	k.now = func() time.Time { return now }
	for i, step := range []struct {
		later         time.Duration
		down          bool
		id            string
		want          error
		asked, failed int
	}{
		{0, false, "1", nil, 1, 0},
		{59 * time.Minute, false, "1", nil, 1, 0},
		{time.Minute, false, "1", nil, 2, 0},
		{time.Hour, true, "1", nil, 3, 1},
		{59 * time.Second, true, "1", nil, 3, 1},
		{time.Second, true, "1", nil, 4, 2},
		{time.Hour, true, "1", errNoKeys, 5, 3},
		{59 * time.Second, false, "1", errNoKeys, 5, 3},
		{time.Second, false, "1", nil, 6, 3},
		{59 * time.Second, false, "2", errUnknownKey, 6, 3},
		{time.Second, false, "2", errUnknownKey, 7, 3},
		{time.Minute, true, "2", errNoKeys, 8, 4},
	} {
		now = now.Add(step.later)
		down.Store(0)
		if step.down {
			down.Store(1)
		}
		if _, err := k.key(t.Context(), step.id); !errors.Is(err, step.want) || int(asked.Load()) != step.asked || failed != step.failed {
			t.Fatalf("step %d: %v, asked %d times, failed %d; want %v, %d, %d", i, err, asked.Load(), failed, step.want, step.asked, step.failed)
		}
	}
}

func TestKeysThatCannotBeRead(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	good := setOf(published("1", "RSA", 2048, 65537))
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"Redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "not followed"},
		"Status": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write(good)
		}, "202"},
		"TooLarge": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(append(good, strings.Repeat(" ", maxKeysBytes)...))
		}, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewTLSServer(tc.answer)
			t.Cleanup(server.Close)
			var failed error
			client := *server.Client()
			client.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true // a redirect is not to fail by its certificate
			k := newKeySet(server.URL, &client, func(err error) { failed = err })
			if _, err := k.key(t.Context(), "1"); !errors.Is(err, errNoKeys) || failed == nil || !strings.Contains(failed.Error(), tc.says) {
				t.Errorf("key: %v, because %v; want %q", err, failed, tc.says)
			}
		})
	}
}
