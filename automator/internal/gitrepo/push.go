package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// RefUpdate asks for a ref of the remote to move, if it still is where we believe it to be.
type RefUpdate struct {
	// Ref is the full name, such as "refs/heads/main".
	Ref string
	// Old is where the remote must have it; zero when it must not exist yet.
	Old gitobject.ID
	// New is where it goes; zero deletes it.
	New gitobject.ID
	// Replace allows New not to descend from Old. Only branches of our own are ever replaced.
	Replace bool
}

// ErrOutcomeUnknown says that a push was cut off after it may have been accepted: ask the remote before anything else.
var ErrOutcomeUnknown = errors.New("outcome unknown")

// Push moves refs of the remote, all or none, and the mirror's with them. Its error is of kind
//   - Conflict, when a ref is not where it was expected: fetch and decide anew;
//   - Unauthorized, when the host refuses, with its reason: a person must change something;
//   - Unavailable, when it is certain that the host got nothing;
//   - and it is ErrOutcomeUnknown otherwise, which is to be taken for neither.
func (r *Repo) Push(ctx context.Context, updates []RefUpdate) error {
	for _, u := range updates {
		if err := r.checkUpdate(ctx, u); err != nil {
			return err
		}
	}
	if done, err := r.pushNatively(ctx, updates); done {
		return err
	}
	return r.pushByGit(ctx, updates)
}

func (r *Repo) pushByGit(ctx context.Context, updates []RefUpdate) error {
	args := []string{"push", "--porcelain", "--no-verify", "--no-signed", "--no-follow-tags"}
	if len(updates) > 1 {
		args = append(args, "--atomic") // one ref needs none, and not every host offers it
	}
	specs := make([]string, 0, len(updates))
	for _, u := range updates {
		args = append(args, "--force-with-lease="+u.Ref+":"+u.Old.String())
		specs = append(specs, u.New.String()+":"+u.Ref)
	}
	leave, err := r.enter(ctx)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err)
	}
	defer leave()
	args = append(append(args, remoteName), specs...)
	out, err := r.run(ctx, command{args: args, remote: true, timeout: r.cfg.PushTimeout})
	if err != nil {
		return r.pushFailure(ctx, updates, out, err)
	}
	r.moved(updates)
	return nil
}

// checkUpdate refuses what would drop commits of others.
func (r *Repo) checkUpdate(ctx context.Context, u RefUpdate) error {
	if !strings.HasPrefix(u.Ref, "refs/") || strings.ContainsAny(u.Ref, ": ^~?*[\\\n") {
		return fault.New(fault.Invalid, "push to %q: not a full ref name", u.Ref)
	}
	if u.Replace || u.Old.IsZero() {
		return nil
	}
	if u.New.IsZero() {
		return fault.New(fault.Invalid, "push to %q: deletes a ref that is not to be replaced", u.Ref)
	}
	if _, err := r.Chain(ctx, u.Old, u.New); err != nil {
		return fmt.Errorf("push to %q: %w", u.Ref, err)
	}
	return nil
}

// moved takes over what was written to the mirror's refs after the push.
func (r *Repo) moved(updates []RefUpdate) {
	before := r.snapshot()
	after := maps.Clone(before)
	if after == nil {
		after = map[string]gitobject.ID{}
	}
	for _, u := range updates {
		after[u.Ref] = u.New
		if u.New.IsZero() {
			delete(after, u.Ref)
		}
	}
	r.mu.Lock()
	r.refs = after
	r.mu.Unlock()
	if changed := r.changesSince(before); len(changed) > 0 {
		r.cfg.OnChange(changed)
	}
}

// raced is what git and hosts say of a ref that is not where it was expected; see git's send-pack.c and receive-pack.c.
var raced = regexp.MustCompile(`stale info|fetch first|non-fast-forward|needs force|failed to update ref|cannot lock ref|` +
	`incorrect old value|reference already exists|atomic transaction failed|invalid old id|failed to lock`)

// notTaken are answers in HTTP by which a host says that it will not take a push; 408 and 429 ask to come again.
var notTaken = regexp.MustCompile(`(?:returned error:|HTTP) 4(?:0[0-79]|1\d|2[0-8]|[3-9]\d)\b`)

// pushFailure tells a lost race from a refusal and from what nobody knows.
func (r *Repo) pushFailure(ctx context.Context, updates []RefUpdate, out []byte, err error) error {
	if _, ok := errors.AsType[*unstarted](err); ok {
		if fault.Is(err, fault.Internal) { // it says nothing of what would help
			err = fault.Wrap(fault.Unavailable, err)
		}
		return err
	}
	failed, ok := errors.AsType[*commandError](err)
	if !ok {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	refused, reasons := rejections(out)
	said := strings.Join(reasons, "; ")
	own := kindOfMessages(failed.own)
	switch {
	case len(refused) == 0 && own != fault.Internal && own != fault.Unavailable:
		return fault.Wrap(own, err)
	case len(refused) == 0 && notTaken.MatchString(failed.own):
		return fault.Wrap(fault.Unauthorized, err)
	case len(refused) == 0:
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	case strings.Contains(said, "[remote failure]"): // the host broke off before it reported
		return fmt.Errorf("%w: push to %s of %q: %s", ErrOutcomeUnknown, strings.Join(refused, ", "), r.cfg.Name, said)
	}
	if failed.host != "" {
		said += ": " + failed.host
	}
	kind := refusalKind(strings.Join(reasons, "\n"), updates, func() (map[string]gitobject.ID, error) {
		return r.remoteRefs(ctx, namesOf(updates)...)
	})
	return fault.New(kind, "push to %s of %q: %s", strings.Join(refused, ", "), r.cfg.Name, clip(said))
}

// refusalKind tells a lost race from a refusal. Hosts have words of their own for a race; then it shows in where the refs are.
func refusalKind(reasons string, updates []RefUpdate, now func() (map[string]gitobject.ID, error)) fault.Kind {
	if raced.MatchString(reasons) {
		return fault.Conflict
	}
	refs, err := now()
	moved := func(u RefUpdate) bool { return refs[u.Ref] != u.Old }
	if err == nil && slices.ContainsFunc(updates, moved) {
		return fault.Conflict
	}
	return fault.Unauthorized
}

func namesOf(updates []RefUpdate) []string {
	names := make([]string, len(updates))
	for i := range updates {
		names[i] = updates[i].Ref
	}
	return names
}

// rejections reads the porcelain: "!\t<from>:<to>\t[kind] (reason)".
func rejections(out []byte) (refs, reasons []string) {
	for line := range bytes.Lines(out) {
		fields := strings.SplitN(strings.TrimRight(string(line), "\n"), "\t", 3)
		if len(fields) != 3 || fields[0] != "!" {
			continue
		}
		_, to, _ := strings.Cut(fields[1], ":")
		refs = append(refs, printable(to))
		reasons = append(reasons, printable(fields[2]))
	}
	return refs, reasons
}
