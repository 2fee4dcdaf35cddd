package update

import (
	"context"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/shared/backoff"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// committer puts commits on the branch.
type committer interface {
	limits

	// commit makes a commit on top of base and moves the branch to it, if that is at base still. Its errors are those of
	// gitrepo.Repo.Push.
	commit(ctx context.Context, base gitobject.ID, files map[string][]byte, text string) (gitobject.ID, error)
	// settle looks, in a branch that was just fetched, for a commit of which nobody knew whether it had been made.
	settle(ctx context.Context, tip gitobject.ID) error
	// made tells whether a commit is one of this writer's, as far as its own words go.
	made(c ownCommit) bool
}

// limits are what a committer bears.
type limits interface {
	// takes says why one commit cannot change files; nothing if it can.
	takes(files map[string][]byte) string
	// afterRace is how long to wait after a lost race.
	afterRace() backoff.Backoff
	// problems say why nothing can be written until a person looked into it.
	problems() []Problem
}

// pusher makes commits itself, and pushes them.
type pusher struct {
	cfg  Config
	repo Repository
}

func (p *pusher) commit(ctx context.Context, base gitobject.ID, files map[string][]byte, text string) (gitobject.ID, error) {
	id, err := p.repo.WriteFiles(ctx, base, files, p.cfg.meta(text, p.cfg.Signer))
	if err == nil {
		err = p.repo.Push(ctx, []gitrepo.RefUpdate{{Ref: p.cfg.Source.Ref, Old: base, New: id}})
	}
	return id, err
}

func (p *pusher) takes(map[string][]byte) string { return "" }

func (p *pusher) settle(context.Context, gitobject.ID) error { return nil }

// afterRace is almost no time at all, and a little longer each time, for the host's sake. Nobody has to give way: of those who
// race one has won, and waiting makes no win more likely.
func (p *pusher) afterRace() backoff.Backoff {
	return backoff.Backoff{Min: 10 * time.Millisecond, Max: 200 * time.Millisecond}
}

func (p *pusher) problems() []Problem { return nil }

func (p *pusher) made(c ownCommit) bool { return c.by.Name == p.cfg.Name && c.by.Email == p.cfg.Email }

// meta is what a commit of now says.
func (c Config) meta(text string, signer gitobject.Signer) gitrepo.CommitMeta {
	by := gitobject.Person{Name: c.Name, Email: c.Email, When: time.Now().UTC()}
	return gitrepo.CommitMeta{Author: by, Committer: by, Message: text, Signer: signer}
}
