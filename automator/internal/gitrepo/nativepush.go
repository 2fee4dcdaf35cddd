package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// pushNatively pushes a commit that was made here on top of what the remote has: two requests and no process. done is false
// when that cannot be done here, or is not as usual; nothing was pushed then, and git is to do it, and to say what is wrong.
func (r *Repo) pushNatively(ctx context.Context, updates []RefUpdate) (done bool, err error) {
	if len(updates) != 1 || r.http == nil {
		return false, nil
	}
	u := updates[0]
	commit, ok := r.made.get(u.New)
	if !ok || u.Old.IsZero() || commit.parent != u.Old {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.PushTimeout)
	defer cancel()
	shown, err := r.access(ctx)
	if err != nil {
		return true, err
	}
	began := time.Now()
	if done, err = r.pushMade(ctx, shown, u, commit); done {
		r.metrics.ran("push", began, errors.Join(ctx.Err(), err))
	}
	return done, err
}

func (r *Repo) pushMade(ctx context.Context, shown access, u RefUpdate, commit made) (done bool, err error) {
	remote, err := r.http.before(ctx, shown, u)
	if ctx.Err() != nil {
		return true, r.unsent(ctx, u)
	}
	if err != nil || !remote.takes(r.Algorithm()) {
		return false, nil //nolint:nilerr // git says what is wrong
	}
	if remote.refs[u.Ref] != u.Old {
		r.http.keep(u.Ref, remote)
		return true, r.rejected(fault.Conflict, u, "stale info", "")
	}
	pack, err := commit.pack(r.Algorithm())
	if err != nil {
		return true, err
	}
	told, err := r.http.send(ctx, shown, remote, u, pack)
	switch {
	case errors.Is(err, errNotSent) && ctx.Err() != nil:
		return true, r.unsent(ctx, u)
	case errors.Is(err, errNotSent), asksWhoWeAre(err):
		return false, nil // nothing was taken; git tries again, with another token perhaps, or says what is wrong
	case err != nil:
		return true, r.nativeFailure(ctx, u, err)
	}
	reason, err := told.outcome(u.Ref)
	switch {
	case err != nil:
		return true, r.nativeFailure(ctx, u, err)
	case reason != "":
		kind := refusalKind(reason, []RefUpdate{u}, func() (map[string]gitobject.ID, error) { return r.http.now(ctx, shown, u.Ref) })
		return true, r.rejected(kind, u, reason, told.said)
	}
	_ = r.take(ctx, u) // the push was taken; if this cannot be done the next fetch does it
	return true, nil
}

func asksWhoWeAre(err error) bool {
	status, ok := errors.AsType[*statusError](err)
	return ok && status.code == http.StatusUnauthorized
}

// before is what the remote said before a push: just now, if the ref was where it is expected to be, else it is asked.
func (s *smartHTTP) before(ctx context.Context, shown access, u RefUpdate) (advertisement, error) {
	if seen, ok := s.takeSeen(u.Ref); ok && seen.refs[u.Ref] == u.Old {
		return seen, nil
	}
	return s.advertised(ctx, shown)
}

// now asks the remote where its refs are, and keeps where one is for who acts on it next.
func (s *smartHTTP) now(ctx context.Context, shown access, ref string) (map[string]gitobject.ID, error) {
	seen, err := s.advertised(ctx, shown)
	if err != nil {
		return nil, err
	}
	s.keep(ref, seen)
	return seen.refs, nil
}

// rejected is the error of a ref that the remote did not move.
func (r *Repo) rejected(kind fault.Kind, u RefUpdate, reason, said string) error {
	text := printable(r.secrets.Text(reason))
	if said = reasonOf(r.secrets.Text(said)); said != "" {
		text += ": " + said
	}
	return fault.New(kind, "push to %s of %q: [rejected] (%s)", u.Ref, r.cfg.Name, clip(text))
}

// unsent is the error of a push that ran out of time before the remote got anything of it.
func (r *Repo) unsent(ctx context.Context, u RefUpdate) error {
	return fault.New(fault.Unavailable, "push to %s of %q: %w: %w", u.Ref, r.cfg.Name, errNotSent, context.Cause(ctx))
}

// nativeFailure tells a push that was certainly not taken from one that nobody knows of.
func (r *Repo) nativeFailure(ctx context.Context, u RefUpdate, err error) error {
	what := fmt.Sprintf("push to %s of %q", u.Ref, r.cfg.Name)
	if cause := context.Cause(ctx); errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %s: no end in time: %w", ErrOutcomeUnknown, what, cause)
	} else if cause != nil {
		return fmt.Errorf("%w: %s: %w", ErrOutcomeUnknown, what, cause)
	}
	said := fmt.Sprintf("%s: %s", what, clip(printable(r.secrets.Text(err.Error()))))
	status, ok := errors.AsType[*statusError](err)
	if !ok || !status.refuses() {
		return fmt.Errorf("%w: %s", ErrOutcomeUnknown, said)
	}
	return fault.New(status.kind(), "%s", said)
}

// refuses tells whether the host says that it did not take what it was sent; 408 and 429 ask to come again.
func (e *statusError) refuses() bool {
	again := e.code == http.StatusRequestTimeout || e.code == http.StatusTooManyRequests
	return e.code >= 300 && e.code < 500 && !again
}

// kind is what a caller can do about it.
func (e *statusError) kind() fault.Kind {
	switch {
	case e.code < 400:
		return fault.Invalid
	case e.code == http.StatusNotFound:
		return fault.NotFound
	}
	return fault.Unauthorized
}

// take moves a ref of the mirror to where the remote has it. A fetch that was under way may have moved it already, to there or
// beyond: then it stays.
func (r *Repo) take(ctx context.Context, u RefUpdate) error {
	leave, err := r.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if at, ok := r.Tip(u.Ref); !ok || at != u.Old {
		return nil
	}
	if err := r.writeRef(u); err != nil {
		return err
	}
	r.moved([]RefUpdate{u})
	return nil
}

// writeRef writes a ref of the mirror as git does: into its lock file, which takes the place of the ref's.
func (r *Repo) writeRef(u RefUpdate) error {
	path := filepath.Join(r.gitDir(), filepath.FromSlash(u.Ref))
	if !strings.HasPrefix(path, filepath.Join(r.gitDir(), "refs")+string(filepath.Separator)) {
		return fault.New(fault.Invalid, "%q is not a ref", u.Ref)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = lock.WriteString(u.New.String() + "\n")
	if err = errors.Join(err, lock.Close()); err == nil {
		err = os.Rename(lock.Name(), path)
	}
	if err != nil {
		_ = os.Remove(lock.Name())
	}
	return err
}
