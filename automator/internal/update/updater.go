package update

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/message"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

// Config says which branch is written, and as whom.
type Config struct {
	// Source is the repository's name and the branch as a full ref.
	Source revision.Source
	// Home is where the pipelines are: on the branch itself, unless it says another one of the repository.
	Home pipeline.Home
	// Name and Email stand in every commit.
	Name, Email string
	// Signer signs every commit; nil leaves them unsigned.
	Signer gitobject.Signer
	// Words are what commits say to people.
	Words message.Templates
	// Patience is how long a push is tried again in quick succession before that is a problem; 0 means 5 minutes.
	Patience time.Duration
}

// Reader is how the mirror is read.
type Reader interface {
	gitobject.TreeReader
	// Blobs reads many files; see gitrepo.Repo.Blobs.
	Blobs(ctx context.Context, ids []gitobject.ID, use func(i int, content []byte, err error) error) error
	// Commit reads a commit.
	Commit(ctx context.Context, id gitobject.ID) (*gitobject.Commit, error)
	// Walk lists the commits of a part of history, newest first, and tells whether it follows on what was held.
	Walk(ctx context.Context, span gitrepo.Span) (commits []gitobject.ID, continues bool, err error)
}

// Writer is how the branch is written.
type Writer interface {
	// Tip is where the mirror has a ref.
	Tip(ref string) (gitobject.ID, bool)
	// FetchRef brings a ref of the mirror to where the remote has it.
	FetchRef(ctx context.Context, ref string) error
	// WriteFiles makes a commit that nothing refers to yet.
	WriteFiles(ctx context.Context, base gitobject.ID, changes map[string][]byte, meta gitrepo.CommitMeta) (gitobject.ID, error)
	// Push moves refs of the remote from where they are expected to be.
	Push(ctx context.Context, updates []gitrepo.RefUpdate) error
}

// Repository is the mirror of the repository.
type Repository interface {
	Reader
	Writer
}

// Images knows what registries have.
type Images interface {
	// Tags returns what was seen of an image repository so far. It does not ask the registry.
	Tags(repository string) Seen
	// Digest returns what a tag points to, and asks the registry when that is not known.
	Digest(ctx context.Context, repository, tag string) (string, error)
	// Inspect has the images of tags looked at. It returns at once; what they say is in Tags later.
	Inspect(repository string, tags []string)
}

// Signatures knows who has signed images.
type Signatures interface {
	// Signed returns what is known of a tag's image in a repository. It asks nobody.
	Signed(repository string, tag *policy.Tag, rules signature.Rules) policy.Signed
	// Check has tags' images checked: those of their digests, or whatever they point to. It returns at once; what came of it
	// is in Signed later.
	Check(repository string, tags []policy.Tag, rules signature.Rules)
	// Generation changes whenever an answer of Signed may have.
	Generation() uint64
}

// find returns what is known of a tag, listed or not.
func (s *Seen) find(name string) policy.Tag {
	for _, tags := range [][]policy.Tag{s.Tags, s.Gone} {
		at, found := slices.BinarySearchFunc(tags, name, func(t policy.Tag, name string) int { return strings.Compare(t.Name, name) })
		if found {
			return tags[at]
		}
	}
	return policy.Tag{Name: name}
}

// Seen is what was seen of an image repository.
type Seen struct {
	// Tags are its tags, by name. Neither they nor Gone are ever written to, and when either changes both are others.
	Tags []policy.Tag
	// Gone are tags that it had and does not list any more, by name.
	Gone []policy.Tag
	// Looked is whether the registry has answered at all.
	Looked bool
	// Problem says why the last look was not complete; empty when it was.
	Problem string
}

// Evidence knows what clusters report.
type Evidence interface {
	// At returns what a cluster says of a path of a source.
	At(cluster string, source revision.Source, path string) Report
}

// Report is what a cluster says of a path.
type Report struct {
	// Commit is the revision of the source at which the path is healthy; zero when it is not, or nothing is known.
	Commit gitobject.ID
	// Since is when it became so and stayed so.
	Since time.Time
	// State says what the cluster says of a path that is not healthy; empty when it says nothing.
	State string
}

// Deps are what the loop works with.
type Deps struct {
	Repository Repository
	// Host makes the commits; without it they are made here, and pushed.
	Host   Host
	Images Images
	// Signatures is asked about images that have to be signed; without it none of them is written.
	Signatures Signatures
	Evidence   Evidence
	Events     Events
	Log        *zap.Logger
	// Metrics is where metrics are registered; nil counts for nobody. Each writer needs labels of its own.
	Metrics prometheus.Registerer
}

// Updater is the single writer of one branch.
type Updater struct {
	cfg  Config
	deps Deps
	log  *zap.Logger
	wake chan struct{}

	metrics   *metrics
	committer committer

	// The loop's own; nobody else touches them.
	history    history
	surveys    surveys
	selections selections
	digests    digests
	ripe       time.Time // when a tag becomes old enough to be taken; zero when none waits for that
	trouble    trouble
	reported   reported
	untold     []Event // told of, and not taken by the store yet
	loaded     *loaded

	mu     sync.Mutex
	status Status
}

const (
	defaultPatience = 5 * time.Minute
	// idle is how long the loop sleeps when nothing wakes it. It then looks for what no wake told of.
	idle = time.Hour
)

// New returns the writer of a branch. It does nothing until Run.
func New(cfg Config, deps Deps) *Updater {
	cfg = cfg.complete()
	u := &Updater{
		cfg:     cfg,
		deps:    deps,
		surveys: surveys{reader: deps.Repository, plain: deps.Host != nil},
		// Whatever a process before us did, the remote knows.
		trouble: trouble{unsure: true},
		log:     deps.Log.With(zap.String(telemetry.Repository, cfg.Source.Repository), zap.String(telemetry.Ref, cfg.Source.Ref)),
		wake:    make(chan struct{}, 1),
	}
	u.metrics = newMetrics(deps.Metrics, u)
	u.committer = &pusher{cfg: cfg, repo: deps.Repository}
	if deps.Host != nil {
		u.committer = &hosted{cfg: cfg, repo: deps.Repository, host: deps.Host, log: u.log}
	}
	return u
}

// Wake says that something may have changed. It returns at once, and any number of wakes during a pass make one more.
func (u *Updater) Wake() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// Run writes the branch until the context is done.
func (u *Updater) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-u.wake:
		case <-timer.C:
		}
		wait := u.pass(ctx)
		if !u.record(ctx) {
			wait = min(wait, tellAgain)
		}
		timer.Reset(wait)
	}
}

// Status is what the last pass saw.
func (u *Updater) Status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.status
}

func (u *Updater) publish(s Status) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status = s
}
