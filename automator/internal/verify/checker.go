package verify

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/shared/instant"
	"github.com/tandem-cd/tandem/shared/signature"
)

// Limits of the loop.
const (
	// maxChecks bounds what is remembered and what waits; beyond it nothing is checked until something is forgotten.
	maxChecks = 20_000
	// maxPerRepository bounds those of one repository, whose other images count as not signed.
	maxPerRepository = 1000
	// concurrency is how many images are checked at a time, and perHost how many of them at one registry: one that is slow, or
	// hostile, leaves places to the others.
	concurrency = 4
	perHost     = 2
	// forgetAfter is how long something is remembered, and looked at again, that nobody asks for any more.
	forgetAfter = time.Hour
	// reloadEvery is how often keys and the trusted root are read.
	reloadEvery = 15 * time.Second
	// recheckAfter is how soon an image that is not signed may be looked at again.
	recheckAfter = 2 * time.Second
	// patience is how long a registry may fail to answer until an image goes for one that is not signed, so that older ones are
	// taken: what somebody pushed may be why it fails.
	patience = 2 * time.Minute
)

// Registry is asked about images.
type Registry interface {
	// Digest returns what a tag points to.
	Digest(ctx context.Context, repository, tag string) (string, error)
	// Hint says that a tag may point to something else by now; it returns at once.
	Hint(repository, tag string) bool
	// Signatures returns what the registry has about the signatures of an image.
	Signatures(ctx context.Context, repository, digest string) (signature.Material, error)
}

// Store remembers over a restart which images are signed.
type Store interface {
	// Verified returns who signed an image by the rules and what they trust; found is false if that is not known.
	Verified(ctx context.Context, repository, digest, rules string) (by []string, found bool, err error)
	// PutVerified remembers it.
	PutVerified(ctx context.Context, repository, digest, rules string, by []string) error
}

// Deps are what a checker works with.
type Deps struct {
	Registry Registry
	Store    Store
	Log      *zap.Logger
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
	// Changed is called when an answer of Signed changed. It MUST NOT block.
	Changed func()
}

// Checker is the loop. Create it with New and run it with Run; everything else may be called at any time.
type Checker struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	wake    chan struct{}

	mu         sync.Mutex
	trust      trust
	verifiers  map[string]bound // by the rules
	checks     map[key]*check
	held       map[string]int // checks by repository
	running    int
	atHost     map[string]int // checks that are running, by registry
	generation uint64
}

// key is what is checked: a digest by rules, or what a tag points to.
type key struct {
	repository string
	tag        string // empty for a digest
	digest     string // empty for a tag
	rules      string // what the verifier says that it is
}

// check is what is known of an image.
type check struct {
	verifier *signature.Verifier
	tag      string // that had the digest when it was asked for last
	verdict  signature.Verdict
	settled  bool      // the verdict counts
	failing  time.Time // since when the registry does not answer; zero if it did
	running  bool
	attempt  int
	last     time.Time // when it was checked
	next     time.Time // when it is checked next, unless it is signed
	asked    time.Time
}

// New returns a checker that has checked nothing yet.
func New(cfg Config, deps Deps) *Checker {
	c := &Checker{cfg: cfg, deps: deps, wake: make(chan struct{}, 1), verifiers: map[string]bound{}, checks: map[key]*check{}, held: map[string]int{}, atHost: map[string]int{}}
	c.trust = cfg.load()
	c.metrics = newMetrics(deps.Metrics, c)
	return c
}

// Signed returns what is known of who signed a tag's image.
func (c *Checker) Signed(repository string, tag *policy.Tag, rules signature.Rules) policy.Signed {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.verifier(rules)
	if err != nil {
		return policy.Signed{Checked: true, Reason: err.Error()}
	}
	known := c.checks[keyOf(repository, tag, v)]
	if known == nil && c.held[repository] >= maxPerRepository {
		return policy.Signed{Checked: true, Reason: fmt.Sprintf("%d images of this repository are being looked at already, so that this one is not", maxPerRepository)}
	}
	if known == nil {
		return policy.Signed{}
	}
	known.asked = time.Now()
	return policy.Signed{Checked: known.settled, Kept: known.verdict.Kept, Reason: known.verdict.Reason, By: known.verdict.By}
}

// Check has tags' images checked: those of their digests, or whatever they point to.
func (c *Checker) Check(repository string, tags []policy.Tag, rules signature.Rules) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.verifier(rules)
	if err != nil {
		return // Signed says so
	}
	for i := range tags {
		c.want(keyOf(repository, &tags[i], v), tags[i].Name, v)
	}
	c.signal()
}

// host is the registry of what is checked.
func (k key) host() string {
	host, _, _ := strings.Cut(k.repository, "/")
	return host
}

func keyOf(repository string, tag *policy.Tag, v *signature.Verifier) key {
	if tag.Digest != "" {
		return key{repository: repository, digest: tag.Digest, rules: v.ID()}
	}
	return key{repository: repository, tag: tag.Name, rules: v.ID()}
}

// want makes sure that something is checked, and returns it; nil if there is no place.
func (c *Checker) want(k key, tag string, v *signature.Verifier) *check {
	known := c.checks[k]
	if known == nil && len(c.checks) < maxChecks && c.held[k.repository] < maxPerRepository {
		known = &check{verifier: v}
		c.checks[k] = known
		c.held[k.repository]++
	}
	if known != nil {
		known.asked, known.tag = time.Now(), tag
	}
	return known
}

// forget makes room for another one.
func (c *Checker) forget(k key) {
	delete(c.checks, k)
	if c.held[k.repository]--; c.held[k.repository] == 0 {
		delete(c.held, k.repository)
	}
}

// unsigned tells whether somebody looked, and the image is not known to be signed.
func (c *check) unsigned() bool { return !c.verdict.Kept && (c.settled || !c.failing.IsZero()) }

// Generation changes whenever an answer of Signed may have.
func (c *Checker) Generation() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation
}

// Recheck has the images of a repository looked at soon that are not signed: something new was seen there.
func (c *Checker) Recheck(repository string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, known := range c.checks {
		if k.repository == repository && known.unsigned() {
			known.attempt = 0
			known.next = instant.Earlier(known.next, known.last.Add(recheckAfter))
		}
	}
	c.signal()
}

func (c *Checker) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
