// Package relay is the client side of tandem.relay.v1: it follows sources, fetches what was announced, and hands over
// what arrived whole.
//
// It holds no state that matters: where each Sync stands comes from its status, and what was lost is fetched again.
package relay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// Protocol is the newest protocol that this client speaks.
const Protocol = 1

// Tree is what one Sync needs of a source.
type Tree struct {
	// Sync names the Sync, as "namespace/name".
	Sync string
	// Incarnation is the Sync's UID and what it trusts from the beginning: one that was made anew, or begins elsewhere, is
	// told everything again.
	Incarnation string
	// Paths are its path and include, in canonical form.
	Paths []string
	// Base is the commit that it stands at: the last verified one, or the one that its installer trusts; zero at first
	// contact.
	Base gitobject.ID
}

// Subscription is a source and the Syncs that follow it.
type Subscription struct {
	Source revision.Source
	Trees  []Tree
}

func (s Subscription) paths() ([]string, error) {
	var all []string
	for _, tree := range s.Trees {
		all = append(all, tree.Paths...)
	}
	return revision.SortedPaths(all)
}

// granted leaves out the Syncs that need a denied path.
func (s Subscription) granted(denied []string) []Tree {
	return slices.DeleteFunc(slices.Clone(s.Trees), func(tree Tree) bool {
		return slices.ContainsFunc(tree.Paths, func(p string) bool { return slices.Contains(denied, p) })
	})
}

// Delivery is what arrived for a source: everything that its Syncs need of the announced commit is in the store.
type Delivery struct {
	Source revision.Source
	// Commit is the commit at the source's ref.
	Commit gitobject.ID
	// Tag is the annotated tag that the ref names; zero for none.
	Tag gitobject.ID
	// Announced is when the automator announced the commit, Received when the last object arrived.
	Announced, Received time.Time
	// Chains are, by Sync, the commits after its base up to Commit; Commit alone at first contact.
	Chains map[string]Chain
}

// Chain is the way from a base to the announced commit.
type Chain struct {
	Base gitobject.ID
	// Commits come after Base, each naming the one before as a parent; the last is the announced one.
	Commits []gitobject.ID
	// Rewritten says that there is no way: Commits is the announced commit alone, and consent is needed.
	Rewritten bool
}

// Handler takes what happens on the connection. Its methods must not block.
type Handler interface { //nolint:interfacebloat // one loop hears all of them
	// Announced says that a source has a new commit, before its objects are fetched.
	Announced(source revision.Source, commit gitobject.ID, at time.Time)
	// Deliver hands over what arrived.
	Deliver(Delivery)
	// Ready says that what is held of a source is the newest.
	Ready(source revision.Source, commit gitobject.ID)
	// SourceProblem says why nothing of a source arrives; cause is a fault.
	SourceProblem(source revision.Source, cause error)
	// Denied says which followed paths are outside the grant: a Sync that needs one of them gets nothing, the others do.
	Denied(source revision.Source, paths []string)
	// SyncNow asks for a convergence of one Sync.
	SyncNow(namespace, name string)
}

// Store is where received objects go, and what is held already.
type Store interface {
	Objects
	// Complete reports whether everything at or below paths of a commit is held.
	Complete(ctx context.Context, commit gitobject.ID, paths []string) (bool, error)
	// ContentID returns the content id of paths at a commit.
	ContentID(ctx context.Context, commit gitobject.ID, paths []string) (revision.ContentID, error)
}

// Config says who calls, and how patiently.
type Config struct {
	// Cluster is the name in the certificate.
	Cluster string
	// Replica is the pod's name.
	Replica string
	// Version is this synchronizer's version, for people.
	Version string
	// Backoff is how reconnects are spread; zero is 1 s to 60 s.
	Backoff backoff.Backoff
	// QueriesWaiting is called when somebody asks this cluster something; it MUST NOT block. Nil for a client that answers
	// nothing.
	QueriesWaiting func()
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
}

// canServe is the capability of clients that open Serve when they are told that questions wait.
const canServe = "serve"

// Dial makes a connection to the automator.
type Dial func() (*grpc.ClientConn, error)

// Client follows sources. Run it once.
type Client struct {
	cfg     Config
	link    *Link
	store   Store
	handler Handler
	log     *zap.Logger
	metrics *metrics

	mu      sync.Mutex
	subs    map[revision.Source]Subscription
	shape   string // what the present Follow asks for; another shape needs another Follow
	reshape chan struct{}
	fetches sync.RWMutex // held for reading by transfers, for writing while objects are collected
	epoch   int64
	shard   int32
	shards  int32
	whole   map[string]bool // commits and paths that are known to be held completely

	welcomed bool // whether the present session was; Run looks when it has ended
}

// New returns a client that hands what it receives to handler.
func New(cfg Config, link *Link, store Store, handler Handler, log *zap.Logger) *Client {
	return &Client{
		cfg: cfg, link: link, store: store, handler: handler, log: log, metrics: newMetrics(cfg.Metrics),
		subs: map[revision.Source]Subscription{}, reshape: make(chan struct{}, 1),
		epoch: time.Now().UnixNano(), whole: map[string]bool{},
	}
}

// Begin has sessions introduced by a hello, whose epoch they count from: it MUST be above those of every session before under
// the name of its replica. Without it they are introduced by the Config, and count from the clock. Call it before Run.
func (c *Client) Begin(hello *relayv1.Hello) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.Replica, c.epoch, c.shard, c.shards = hello.GetReplica(), hello.GetEpoch(), hello.GetShard(), hello.GetShards()
}

// Follow replaces what is followed. When only bases differ from before, the open stream goes on.
func (c *Client) Follow(subs []Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs = make(map[revision.Source]Subscription, len(subs))
	for _, sub := range subs {
		c.subs[sub.Source] = sub
	}
	shape := shapeOf(subs)
	if shape == c.shape {
		return
	}
	c.shape = shape
	select {
	case c.reshape <- struct{}{}:
	default:
	}
}

// shapeOf is equal for subscriptions that ask for the same sources and trees.
func shapeOf(subs []Subscription) string {
	var parts []string
	for _, sub := range subs {
		for _, tree := range sub.Trees {
			parts = append(parts, fmt.Sprintf("%s %s %s %q", sub.Source, tree.Sync, tree.Incarnation, tree.Paths))
		}
	}
	slices.Sort(parts)
	return fmt.Sprint(parts)
}

// Quiet runs fn while no transfer runs, so that objects can be removed which nobody needs.
func (c *Client) Quiet(fn func() error) error {
	c.fetches.Lock()
	defer c.fetches.Unlock()
	c.mu.Lock()
	clear(c.whole)
	c.mu.Unlock()
	return fn()
}

// maxWhole bounds what is remembered to be complete.
const maxWhole = 256

func (c *Client) remember(commit gitobject.ID, paths []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.whole) >= maxWhole {
		clear(c.whole)
	}
	c.whole[commit.String()+strings.Join(paths, "\x00")] = true
}

func (c *Client) remembers(commit gitobject.ID, paths []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.whole[commit.String()+strings.Join(paths, "\x00")]
}

func (c *Client) subscription(source revision.Source) (Subscription, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sub, ok := c.subs[source]
	return sub, ok
}

func (c *Client) subscriptions() []Subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	subs := make([]Subscription, 0, len(c.subs))
	for _, sub := range c.subs {
		subs = append(subs, sub)
	}
	slices.SortFunc(subs, func(a, b Subscription) int { return compareSources(a.Source, b.Source) })
	return subs
}

func compareSources(a, b revision.Source) int {
	if a.String() < b.String() {
		return -1
	}
	return 1
}

func (c *Client) hello() *relayv1.Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	hello := &relayv1.Hello{Cluster: c.cfg.Cluster, Replica: c.cfg.Replica, Epoch: c.epoch, Protocol: Protocol, Version: c.cfg.Version, Shard: c.shard, Shards: c.shards}
	if c.cfg.QueriesWaiting != nil {
		hello.Capabilities = []string{canServe}
	}
	return hello
}

// nextHello starts a new session.
func (c *Client) nextHello() *relayv1.Hello {
	c.mu.Lock()
	c.epoch++
	c.mu.Unlock()
	return c.hello()
}

// Run follows until the context is done, through any number of connections.
func (c *Client) Run(ctx context.Context) error {
	attempt := 0
	for ctx.Err() == nil {
		started := time.Now()
		c.welcomed = false
		after, err := c.session(ctx)
		c.metrics.ended(err)
		if ctx.Err() != nil {
			break
		}
		if err == nil { // the sources changed, or the server asked for it
			attempt = 0
			sleep(ctx, max(after, calm-time.Since(started)))
			continue
		}
		attempt = backoff.After(attempt, c.welcomed, time.Since(started))
		c.log.Warn("stream lost", zap.Error(err), zap.Int("attempt", attempt), zap.Bool("unauthorized", fault.Is(err, fault.Unauthorized)))
		_ = c.cfg.Backoff.Wait(ctx, attempt)
		attempt++
	}
	return ctx.Err()
}

// calm is how long a stream lives at least: Syncs that are made one after the other are followed together, and one that is
// made alone at once.
const calm = 200 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
