package githost

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"time"
)

// Pause is how long a host wants to be left alone.
func Pause(header http.Header, now time.Time) time.Duration {
	return answer{header: header, now: now}.pause()
}

// Through has requests go elsewhere than to the network.
func (c *Commits) Through(t http.RoundTripper) *Commits {
	c.client = func(*tls.Config) *http.Client { return &http.Client{Transport: t} }
	return c
}

// APIOf is where the API of a host is.
func APIOf(host string) string { return apiOf(host) }

// GraphQL is where GraphQL is beside an API.
func GraphQL(api string) string {
	at, err := url.Parse(api)
	if err != nil {
		return err.Error()
	}
	return graphQL(at)
}
