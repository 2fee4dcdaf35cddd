package vault

import (
	"context"
	"net"
	"time"
)

// ReadEvery is how often a secret without a lease is read.
const ReadEvery = readEvery

// RequestTimeout bounds a request.
const RequestTimeout = requestTimeout

// MaxAnswerBytes bounds an answer.
const MaxAnswerBytes = maxAnswerBytes

// DialWith has the client connect in another way.
func (c *Client) DialWith(dial func() (net.Conn, error)) {
	c.dial = func(context.Context, string, string) (net.Conn, error) { return dial() }
}

// LifeOf says when a lease that was asked for ends, and when it is read again.
func LifeOf(leaseID string, duration int64, asked, tokenEnds time.Time) (ends, renew time.Time) {
	return answer{LeaseID: leaseID, LeaseDuration: duration}.life(asked, tokenEnds)
}
