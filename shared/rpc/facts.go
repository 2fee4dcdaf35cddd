package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// The headers of every answer to a unary call, of refusals too: who looks for what is wrong needs them most then.
const (
	timeHeader    = "tandem-time"
	versionHeader = "tandem-version"
)

// Facts are what an answer says of the server that gave it.
type Facts struct {
	// Version is the server's; empty when it does not say.
	Version string
	// Time is what its clock said; zero when it does not say.
	Time time.Time
}

// FactsOf reads the header of an answer, as grpc.Header puts it aside.
func FactsOf(header metadata.MD) Facts {
	facts := Facts{}
	if values := header.Get(versionHeader); len(values) > 0 {
		facts.Version = values[0]
	}
	if values := header.Get(timeHeader); len(values) > 0 {
		facts.Time, _ = time.Parse(time.RFC3339Nano, values[0]) // what is no time counts as not said
	}
	return facts
}

// tell puts the facts into a call's header.
func tell(ctx context.Context, version string) {
	_ = grpc.SetHeader(ctx, metadata.Pairs(timeHeader, time.Now().UTC().Format(time.RFC3339Nano), versionHeader, version)) // without it the answer is as good
}
