package update

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/githost"
	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

// Host makes commits through the API of a Git host, which signs them.
type Host interface {
	// Commit has a commit made on a branch, if that is where it is expected to be; see githost.Commits.
	Commit(ctx context.Context, c githost.Commit) (gitobject.ID, error)
}

// trailerWriter says who asked a host for a commit, since author and committer are the host's to choose.
const trailerWriter = "Tandem-Writer"

// maxOpen bounds the plans that are open. When there are more, the oldest is forgotten: at the pace of failures it was asked
// for more than an hour ago.
const maxOpen = 100

// hosted has a host make commits. What the host made is fetched, and held against what it was asked for: if it is something
// else, nothing more is asked of it.
type hosted struct {
	cfg  Config
	repo Repository
	host Host
	log  *zap.Logger

	open   []planned // commits of which nobody knows whether they were made, all on top of what the branch was at last
	broken error     // what the host made is not what it was asked for
}

// planned is a commit as it should become.
type planned struct {
	base, tree gitobject.ID
	words      []gitobject.Trailer
}

func (p planned) equal(other planned) bool {
	return p.base == other.base && p.tree == other.tree && slices.Equal(p.words, other.words)
}

// differs says in what a commit is not as planned; nothing if it is.
func (p planned) differs(made *gitobject.Commit) string {
	switch {
	case !slices.Equal(made.Parents, []gitobject.ID{p.base}):
		return fmt.Sprintf("is on top of %v and not of %s", made.Parents, p.base)
	case made.Tree != p.tree:
		return fmt.Sprintf("has the tree %s and not %s", made.Tree, p.tree)
	case !slices.Equal(ownTrailers(made), p.words):
		return "does not say what it was to say"
	}
	return ""
}

func (h *hosted) commit(ctx context.Context, base gitobject.ID, files map[string][]byte, text string) (gitobject.ID, error) {
	if h.broken != nil {
		return gitobject.ID{}, h.broken
	}
	text += trailerWriter + ": " + h.writer() + "\n"
	plan, err := h.plan(ctx, base, files, text)
	if err != nil {
		return gitobject.ID{}, err
	}
	before := h.open
	h.expect(plan)
	id, err := h.host.Commit(ctx, githost.Commit{
		Branch: revision.BranchOf(h.cfg.Source.Ref), Parent: base, Message: text, Files: files,
	})
	switch {
	case errors.Is(err, githost.ErrOutcomeUnknown):
		return id, fmt.Errorf("%w: %w", gitrepo.ErrOutcomeUnknown, err)
	case err != nil:
		h.open = before // of those nobody knows still
		return id, err
	}
	if err := h.repo.FetchRef(ctx, h.cfg.Source.Ref); err != nil {
		return id, fmt.Errorf("%w: the host made %s, which cannot be fetched: %w", gitrepo.ErrOutcomeUnknown, id, err)
	}
	made, err := h.repo.Commit(ctx, id)
	if err != nil {
		return id, fmt.Errorf("%w: the host made %s, which is not on the branch: %w", gitrepo.ErrOutcomeUnknown, id, err)
	}
	h.open = nil // whatever else was asked for cannot be made any more
	return id, h.check(id, made, plan)
}

func (h *hosted) takes(files map[string][]byte) string {
	size := 0
	for _, content := range files {
		size += len(content)
	}
	if len(files) > githost.MaxFiles || size > githost.MaxBytes {
		return fmt.Sprintf("%d files of %d bytes are to change, and the host's API takes %d and %d in one commit; have commits pushed",
			len(files), size, githost.MaxFiles, githost.MaxBytes)
	}
	return ""
}

// expect opens a plan. One that is open already is asked for once more.
func (h *hosted) expect(plan planned) {
	if slices.ContainsFunc(h.open, plan.equal) {
		return
	}
	h.open = append(slices.Clone(h.open[max(0, len(h.open)-maxOpen+1):]), plan)
}

// plan makes the commit that the host is to make, for nobody to see: its tree is what counts.
func (h *hosted) plan(ctx context.Context, base gitobject.ID, files map[string][]byte, text string) (planned, error) {
	id, err := h.repo.WriteFiles(ctx, base, files, h.cfg.meta(text, nil))
	if err != nil {
		return planned{}, err
	}
	commit, err := h.repo.Commit(ctx, id)
	if err != nil {
		return planned{}, err
	}
	return planned{base: base, tree: commit.Tree, words: ownTrailers(commit)}, nil
}

// check holds what the host made against plans, one of which it must be.
func (h *hosted) check(id gitobject.ID, made *gitobject.Commit, plans ...planned) error {
	var problem string
	for _, plan := range plans {
		if problem = plan.differs(made); problem == "" {
			return nil
		}
	}
	h.broken = fault.New(fault.Invalid, "the host made %s, which %s; nothing more is written to %s by API until the automator is started anew",
		id, problem, h.cfg.Source)
	h.log.Error("the host made another commit than it was asked for", zap.Stringer(telemetry.Commit, id), zap.Error(h.broken))
	return h.broken
}

// settle looks for the open commits among those after their base. Once the branch is past that, what is not there will not
// be made.
func (h *hosted) settle(ctx context.Context, tip gitobject.ID) error {
	if len(h.open) == 0 || h.open[0].base == tip {
		return nil
	}
	ids, _, err := h.repo.Walk(ctx, gitrepo.Span{Want: tip, Held: h.open[0].base, Limit: maxHistory})
	if err != nil {
		return err
	}
	for _, id := range slices.Backward(ids) { // it is the first
		commit, err := h.repo.Commit(ctx, id)
		if fault.Is(err, fault.Invalid) {
			continue // malformed, so not what a host made
		}
		if err != nil {
			return err
		}
		words := ownTrailers(commit)
		asked := slices.DeleteFunc(slices.Clone(h.open), func(p planned) bool { return !slices.Equal(p.words, words) })
		if len(asked) > 0 {
			_ = h.check(id, commit, asked...) // a problem from then on
			break
		}
	}
	h.open = nil
	return nil
}

// afterRace is longer than for pushes: a host counts each request for a commit, and wants few of them in a minute.
func (h *hosted) afterRace() backoff.Backoff {
	return backoff.Backoff{Min: time.Second, Max: 15 * time.Second}
}

func (h *hosted) problems() []Problem {
	if h.broken == nil {
		return nil
	}
	return []Problem{{Problem: pipeline.Problem{Message: h.broken.Error()}, Refused: true}}
}

func (h *hosted) made(c ownCommit) bool { return c.writer == h.writer() }

// writer is who asks, in one line.
func (h *hosted) writer() string { return fmt.Sprintf("%s <%s>", h.cfg.Name, h.cfg.Email) }

// ownTrailers are the trailers by which a commit is known later. A host may add others.
func ownTrailers(c *gitobject.Commit) []gitobject.Trailer {
	return slices.DeleteFunc(c.Trailers(), func(t gitobject.Trailer) bool { return !strings.HasPrefix(t.Key, trailerPrefix) })
}
