package backoff

import "time"

const (
	// steady is how long a connection must have lived for the wait after it to be the shortest.
	steady = 10 * time.Second
	// brief bounds the attempt after a connection that did not live as long: it waits for up to 4 s by default.
	brief = 2
)

// After returns the attempt with which a connection is made anew that was welcomed and has lived for a while.
//
// Waits grow while nobody answers. A connection that was welcomed shows that somebody does: what ended it, such as a
// server that is killed again and again, is no reason to wait for a minute. Neither is it one to come back at once: a
// server that dies under its crowd would never get up.
func After(attempt int, welcomed bool, lived time.Duration) int {
	switch {
	case lived > steady:
		return 0
	case welcomed:
		return min(attempt, brief)
	default:
		return attempt
	}
}
