package update

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// State is what happened.
type State uint8

// What the loop tells of.
const (
	// Detected is an image that the policy chose and that is to be written.
	Detected State = iota + 1
	// Committed is a commit of ours that is on the Git server.
	Committed
	// Rejected is an edit or a push that was refused.
	Rejected
)

func (s State) String() string {
	switch s {
	case Detected:
		return "detected"
	case Committed:
		return "committed"
	case Rejected:
		return "rejected"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Event is something that happened. The same event always has the same ID, whichever process tells of it.
type Event struct {
	ID               [sha256.Size]byte
	State            State
	Time             time.Time
	Source           revision.Source
	App, Environment string
	// Commit is ours, of Committed.
	Commit gitobject.ID
	// Images are what was chosen or written.
	Images []pipeline.ReleaseImage
	// Message is one sentence for a person.
	Message string
	// Problems are why, of Rejected.
	Problems []Problem
}

// Events takes what happened.
type Events interface {
	// Record stores events, and passes over those that it has.
	Record(ctx context.Context, events []Event) error
}

// reported are the subjects of events that this process has told of, so that looking again does not tell again.
type reported map[string]bool

const (
	// maxReported bounds what is remembered. Events beyond it are told again, and are known by their id.
	maxReported = 10_000
	// maxUntold bounds the events that wait for a store that takes none, such as one whose disk is full. Beyond it the
	// oldest are lost; what they tell is in Git still.
	maxUntold = 1000
	// tellAgain is when they are tried again.
	tellAgain = 5 * time.Second
)

// tell records events that were not told of, after those that could not be recorded before.
func (u *Updater) tell(ctx context.Context, events ...Event) {
	if u.reported == nil || len(u.reported) > maxReported {
		u.reported = reported{}
	}
	for _, event := range events {
		key := string(event.ID[:])
		if u.reported[key] {
			continue
		}
		u.reported[key] = true
		u.untold = append(u.untold, event)
	}
	u.record(ctx)
}

// record gives the store what it does not have, and reports whether it took it.
func (u *Updater) record(ctx context.Context) bool {
	if len(u.untold) == 0 {
		return true
	}
	u.untold = u.untold[max(0, len(u.untold)-maxUntold):]
	if err := u.deps.Events.Record(ctx, u.untold); err != nil {
		if ctx.Err() == nil {
			u.log.Warn("events not recorded", zap.Int("events", len(u.untold)), zap.Error(err))
		}
		return false
	}
	u.untold = nil
	return true
}

// event makes an event; subject is what it is about, in words that no other thing has.
func (u *Updater) event(state State, at time.Time, subject string) Event {
	return Event{
		ID:     sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s", u.cfg.Source.Repository, u.cfg.Source.Ref, state, subject)),
		State:  state,
		Time:   at,
		Source: u.cfg.Source,
	}
}

// tellOf tells of what is new in a view.
func (u *Updater) tellOf(ctx context.Context, v *view, c change) {
	for _, d := range c.detected {
		event := u.event(Detected, d.when, strings.Join([]string{d.app, d.image.Name, d.image.Repository, d.image.Tag, d.image.Digest}, "\x00"))
		if event.Time.IsZero() {
			event.Time = time.Now()
		}
		event.App, event.Images = d.app, []pipeline.ReleaseImage{d.image}
		event.Message = fmt.Sprintf("%s %s was seen", d.image.Name, d.image.Tag)
		u.tell(ctx, event)
	}
	for _, p := range v.problems {
		if p.Refused {
			u.tellRejected(ctx, p, "")
		}
	}
}

// tellCommitted tells of a commit of ours that the remote has, once for each environment.
func (u *Updater) tellCommitted(ctx context.Context, id gitobject.ID, at time.Time, groups []written) {
	for _, g := range groups {
		event := u.event(Committed, at, strings.Join([]string{id.String(), g.App, g.Environment}, "\x00"))
		event.App, event.Environment, event.Commit = g.App, g.Environment, id
		for _, image := range g.Images {
			event.Images = append(event.Images, image.ReleaseImage)
		}
		event.Message = title([]written{g})
		u.tell(ctx, event)
	}
}

// tellRejected tells of an edit or a push that was refused; on is what it was to be done on, if that makes it another one.
func (u *Updater) tellRejected(ctx context.Context, p Problem, on string) {
	event := u.event(Rejected, time.Now(), strings.Join([]string{p.App, p.Environment, p.String(), on}, "\x00"))
	event.App, event.Environment, event.Problems = p.App, p.Environment, []Problem{p}
	event.Message = p.Message
	u.tell(ctx, event)
}
