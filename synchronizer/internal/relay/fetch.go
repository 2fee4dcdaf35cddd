package relay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

const (
	// maxParts bounds how many transfers one delivery may be cut into.
	maxParts = 1000
	// transferTimeout bounds one transfer.
	transferTimeout = 5 * time.Minute
)

// wanted is an announcement that is to be fetched.
type wanted struct {
	source revision.Source
	commit gitobject.ID
	tag    gitobject.ID
	denied []string
	at     time.Time
}

// fetcher runs the transfers of a session: one at a time for each source, always for the newest announcement.
type fetcher struct {
	client *Client
	api    relayv1.RelayServiceClient
	group  *errgroup.Group
	mu     sync.Mutex
	next   map[revision.Source]*wanted // present while a worker runs; nil when it works on the newest
}

func newFetcher(c *Client, api relayv1.RelayServiceClient, group *errgroup.Group) *fetcher {
	return &fetcher{client: c, api: api, group: group, next: map[revision.Source]*wanted{}}
}

// want replaces what is to be fetched of a source.
func (f *fetcher) want(ctx context.Context, w wanted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, running := f.next[w.source]
	f.next[w.source] = &w
	if !running {
		f.group.Go(func() error { f.work(ctx, w.source); return nil })
	}
}

// take returns what is to be fetched next, or false when the worker may end.
func (f *fetcher) take(source revision.Source) (wanted, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.next[source]
	if next == nil {
		delete(f.next, source)
		return wanted{}, false
	}
	f.next[source] = nil
	return *next, true
}

// retry puts a failed announcement back, unless a newer one came.
func (f *fetcher) retry(w wanted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next[w.source] == nil {
		f.next[w.source] = &w
	}
}

func (f *fetcher) work(ctx context.Context, source revision.Source) {
	attempt := 0
	for {
		w, ok := f.take(source)
		if !ok {
			return
		}
		err := f.deliver(ctx, w)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			attempt = 0
		default:
			f.client.log.Warn("transfer failed", zap.String(telemetry.Repository, source.Repository), zap.Stringer(telemetry.Commit, w.commit), zap.Error(err))
			f.client.handler.SourceProblem(source, err)
			f.retry(w)
			if f.client.cfg.Backoff.Wait(ctx, attempt) != nil {
				return
			}
			attempt++
		}
	}
}

// deliver fetches what the Syncs of a source lack of a commit, and hands it over.
func (f *fetcher) deliver(ctx context.Context, w wanted) error {
	f.client.fetches.RLock()
	defer f.client.fetches.RUnlock()
	sub, ok := f.client.subscription(w.source)
	if !ok {
		return nil
	}
	chains := make(map[string]Chain, len(sub.Trees))
	for _, part := range byBase(sub.granted(w.denied)) {
		chain, err := f.bring(ctx, w, part)
		if err != nil {
			return err
		}
		for _, name := range part.syncs {
			chains[name] = chain
		}
	}
	f.client.handler.Deliver(Delivery{
		Source: w.source, Commit: w.commit, Tag: w.tag, Announced: w.at, Received: time.Now(), Chains: chains,
	})
	return nil
}

// part is the Syncs of a source that stand at the same commit: one transfer serves them all.
type part struct {
	base  gitobject.ID
	syncs []string
	paths []string
}

func byBase(trees []Tree) []part {
	parts := map[gitobject.ID]*part{}
	var order []*part
	for _, tree := range trees {
		p := parts[tree.Base]
		if p == nil {
			p = &part{base: tree.Base}
			parts[tree.Base] = p
			order = append(order, p)
		}
		p.syncs = append(p.syncs, tree.Sync)
		p.paths = append(p.paths, tree.Paths...)
	}
	slices.SortFunc(order, func(a, b *part) int { return strings.Compare(a.base.String(), b.base.String()) })
	result := make([]part, 0, len(order))
	for _, p := range order {
		result = append(result, *p)
	}
	return result
}

// bring makes sure that everything a part needs of the wanted commit is held, and returns the way there from its base.
func (f *fetcher) bring(ctx context.Context, w wanted, p part) (Chain, error) {
	paths, err := revision.CleanPaths(p.paths)
	if err != nil {
		return Chain{}, err
	}
	chain := Chain{Base: p.base}
	if !p.base.IsZero() {
		if err := f.ensure(ctx, w.source, p.base, paths); err != nil && !fault.Is(err, fault.NotFound) {
			return chain, err
		} else if err != nil {
			return f.rewritten(ctx, w, paths, chain)
		}
	}
	for at := p.base; at != w.commit; {
		got, err := f.fetch(ctx, request{source: w.source, want: w.commit, held: at, tag: w.tag, paths: paths})
		if fault.Is(err, fault.Stale) {
			return f.rewritten(ctx, w, paths, chain)
		}
		if err != nil {
			return chain, err
		}
		chain.Commits = append(chain.Commits, got.chain...)
		if at = got.until; len(chain.Commits) > maxParts*maxCommits {
			return chain, fault.New(fault.Invalid, "the way from %s to %s has no end", p.base, w.commit)
		}
	}
	f.client.remember(w.commit, paths)
	return chain, nil
}

// rewritten fetches the wanted commit by itself: there is no way from the base, because history was rewritten.
func (f *fetcher) rewritten(ctx context.Context, w wanted, paths []string, chain Chain) (Chain, error) {
	_, err := f.fetch(ctx, request{source: w.source, want: w.commit, tag: w.tag, paths: paths})
	chain.Commits, chain.Rewritten = []gitobject.ID{w.commit}, true
	return chain, err
}

// ensure fetches what is needed of a commit whose objects should be held already.
func (f *fetcher) ensure(ctx context.Context, source revision.Source, commit gitobject.ID, paths []string) error {
	if f.client.remembers(commit, paths) {
		return nil
	}
	complete, err := f.client.store.Complete(ctx, commit, paths)
	if err != nil || complete {
		return err
	}
	_, err = f.fetch(ctx, request{source: source, want: commit, paths: paths})
	return err
}

// request is what one transfer asks for.
type request struct {
	source          revision.Source
	want, held, tag gitobject.ID
	paths           []string
}

func (f *fetcher) fetch(ctx context.Context, r request) (received, error) {
	return f.client.transfer(ctx, f.api, r, f.client.store)
}

// transfer runs one transfer.
func (c *Client) transfer(ctx context.Context, api relayv1.RelayServiceClient, r request, into Objects) (got received, err error) {
	began := time.Now()
	defer func() { c.metrics.transferred(began, got, err) }()
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	stream, err := api.Fetch(ctx, &relayv1.FetchRequest{
		Hello: c.hello(), Source: revision.SourceToProto(r.source), Paths: r.paths,
		Want: revision.ObjectToProto(r.want), Held: revision.ObjectToProto(r.held), Tag: revision.ObjectToProto(r.tag),
	})
	if err != nil {
		return received{}, fmt.Errorf("fetch %s: %w", r.want, err)
	}
	got, err = receive(ctx, stream, into)
	if err != nil {
		return got, fmt.Errorf("fetch %s: %w", r.want, err)
	}
	if r.held.IsZero() && got.until != r.want {
		return got, broken("commit %s came instead of %s", got.until, r.want)
	}
	return got, nil
}
