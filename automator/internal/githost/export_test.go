package githost

import (
	"net/http"
	"net/url"
	"time"
)

// Pause is how long a host wants to be left alone.
func Pause(header http.Header, now time.Time) time.Duration {
	return answer{header: header, now: now}.pause()
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
