package relay

import (
	"context"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// maxBrought bounds the transfers of one Bring.
const maxBrought = 2

// Bring fetches what a commit has under paths into objects, beside what is followed and without a word of it to anybody,
// and returns the way there from base; zero is none. objects has everything of base.
func (c *Client) Bring(ctx context.Context, into Objects, source revision.Source, base, commit gitobject.ID, paths []string) (Chain, error) { //nolint:revive // they are what a transfer is
	c.fetches.RLock()
	defer c.fetches.RUnlock()
	chain := Chain{Base: base}
	conn, err := c.link.Conn()
	if err != nil {
		return chain, err
	}
	api := relayv1.NewRelayServiceClient(conn)
	if paths, err = revision.CleanPaths(paths); err != nil {
		return chain, err
	}
	at := base
	for range maxBrought {
		got, err := c.transfer(ctx, api, request{source: source, want: commit, held: at, paths: paths}, into)
		if !at.IsZero() && (fault.Is(err, fault.Stale) || fault.Is(err, fault.NotFound)) { // no way there, or no base to build on
			_, err = c.transfer(ctx, api, request{source: source, want: commit, paths: paths}, into)
			chain.Commits, chain.Rewritten = []gitobject.ID{commit}, true
			return chain, err
		}
		if err != nil {
			return chain, err
		}
		chain.Commits = append(chain.Commits, got.chain...)
		if at = got.until; at == commit {
			return chain, nil
		}
	}
	return chain, fault.New(fault.Invalid, "commit %s is more than %d transfers away from %s", commit, maxBrought, base)
}
