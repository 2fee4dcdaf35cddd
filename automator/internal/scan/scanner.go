package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/automator/internal/registry"
	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/shared/config"
)

// Defaults and bounds of the configuration.
const (
	defaultInterval    = 5 * time.Minute
	minInterval        = 10 * time.Second
	defaultConcurrency = 8
)

// Registry is asked about images.
type Registry interface {
	// Tags lists the tags of a repository; complete says whether these are all. It may return tags with an error.
	Tags(ctx context.Context, repository string) (tags []string, complete bool, err error)
	// Digest returns what a tag points to now.
	Digest(ctx context.Context, repository, tag string) (string, error)
	// Inspect looks at the image that a tag points to now.
	Inspect(ctx context.Context, repository, tag string) (registry.Image, error)
}

// Cache remembers over a restart.
type Cache interface {
	// Tags returns what is known of a repository, nothing for one that is not.
	Tags(ctx context.Context, repository string) (store.Scan, []store.Tag, error)
	// PutTags records how a look went and the tags that it changed.
	PutTags(ctx context.Context, repository string, scan store.Scan, changed []store.Tag) error
	// PutScans records how looks went that changed no tag, by repository.
	PutScans(ctx context.Context, scans map[string]store.Scan) error
}

// Config says how often and how much at a time.
type Config struct {
	// Interval is the longest time between two looks at a repository; 0 means 5 m, at least 10 s. One that had news
	// lately is looked at up to five times as often.
	Interval config.Duration `yaml:"interval"`
	// Concurrency is how many looks are made at a time, and half of it at one registry; 0 means 8.
	Concurrency int `yaml:"concurrency"`
}

// Validate fills defaults and returns every problem joined.
func (c *Config) Validate() error {
	var problems []error
	c.Interval = config.Duration(c.Interval.Or(defaultInterval))
	if time.Duration(c.Interval) < minInterval {
		problems = append(problems, fmt.Errorf("scan interval %s is less than %s; for news at once let the registry call the webhook", time.Duration(c.Interval), minInterval))
	}
	if c.Concurrency == 0 {
		c.Concurrency = defaultConcurrency
	}
	if c.Concurrency < 0 {
		problems = append(problems, errors.New("scan concurrency is negative"))
	}
	return errors.Join(problems...)
}

// Deps are what a scanner works with.
type Deps struct {
	// Registry is asked.
	Registry Registry
	// Cache remembers.
	Cache Cache
	// Log gets what a person would want to know.
	Log *zap.Logger
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
	// Changed is called when the tags of a repository or a digest became known or changed, at a time. It MUST NOT block:
	// the look that found the change waits for it.
	Changed func(repository string, at time.Time)
}

// Target is an image repository to follow.
type Target struct {
	// Repository is its canonical name, registry included.
	Repository string
	// Moving are the tags whose digest is asked for at every look, because a policy follows them wherever they point.
	Moving []string
}

// Snapshot is what is known of a repository.
type Snapshot struct {
	// Repository is its name.
	Repository string
	// Listed are the tags that are listed, and Gone those that are not any more, by name. MUST NOT be changed.
	Listed, Gone []policy.Tag
	// Scan says how looking went.
	Scan store.Scan
	// Next is when it is looked at next, unless a hint comes first; zero while a look is under way.
	Next time.Time
}

// Scanner is the loop. Create it with New and run it with Run; everything else may be called at any time.
type Scanner struct {
	cfg  Config
	deps Deps
	wake chan struct{}

	metrics *metrics

	mu           sync.Mutex
	repositories map[string]*repository
	// paused has the registries that asked for a pause, and until when.
	paused     map[string]time.Time
	looks      int            // under way
	asks       int            // loads and hints under way
	inspecting int            // images that are looked at
	atHost     map[string]int // looks under way, by registry
	// uneventful are the repositories whose last look is not recorded, because it found nothing.
	uneventful map[string]bool
	recorded   time.Time // when looks that found nothing were recorded last
	recording  bool      // it is under way
}

// New returns a scanner that follows nothing yet.
func New(cfg Config, deps Deps) (*Scanner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Changed == nil {
		deps.Changed = func(string, time.Time) {}
	}
	s := &Scanner{
		cfg:          cfg,
		deps:         deps,
		wake:         make(chan struct{}, 1),
		repositories: make(map[string]*repository),
		paused:       make(map[string]time.Time),
		atHost:       make(map[string]int),
		uneventful:   make(map[string]bool),
	}
	s.metrics = newMetrics(deps.Metrics, s)
	return s, nil
}

// Follow replaces the set of repositories that are looked at. What is known of those that stay is kept; those that go are
// forgotten here, and for a while kept in the cache.
func (s *Scanner) Follow(targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := make(map[string]*repository, len(targets))
	for _, target := range targets {
		r := s.repositories[target.Repository]
		switch {
		case r == nil:
			r = newRepository(target.Repository)
		case !slices.Equal(r.moving, target.Moving):
			r.lookSoon(time.Now())
		}
		r.moving = target.Moving
		wanted[target.Repository] = r
	}
	s.repositories = wanted
	s.signal()
}

// Follows reports whether a repository is followed.
func (s *Scanner) Follows(repository string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repositories[repository] != nil
}

// Hint says that a tag of a repository may be new or may have moved; an empty tag says that anything may have. It returns
// at once, and whether the repository is followed.
func (s *Scanner) Hint(repository, tag string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repositories[repository]
	if r == nil {
		return false
	}
	r.hint(tag, time.Now())
	s.signal()
	return true
}

// Seen returns what is known of a repository; false when it is not followed.
func (s *Scanner) Seen(repository string) (Snapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repositories[repository]
	if r == nil {
		return Snapshot{}, false
	}
	return r.snapshot(), true
}

// Resolve returns the digest of a tag: the one that is known, unless nobody has asked yet, a hint says that it may have
// moved, or the tag had vanished; then the registry's answer.
func (s *Scanner) Resolve(ctx context.Context, repository, tag string) (string, error) {
	s.mu.Lock()
	r := s.repositories[repository]
	if r != nil {
		if digest, ok := r.digest(tag); ok {
			s.mu.Unlock()
			return digest, nil
		}
	}
	s.mu.Unlock()
	digest, err := s.deps.Registry.Digest(ctx, repository, tag)
	now := time.Now()
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pause(hostOf(repository), err, now)
		return "", err
	}
	if r != nil {
		n := s.learn(r, func() news { return r.confirm(tag, digest, now) })
		n.resolved = 0 // is no news for who asked; the cache gets it with the next look
		s.announce(r, n, now)
	}
	return digest, nil
}

// signal wakes the loop.
func (s *Scanner) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// hostOf returns the registry of a repository.
func hostOf(repository string) string {
	host, _, _ := strings.Cut(repository, "/")
	return host
}
