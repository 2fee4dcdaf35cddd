package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// RefChange is a ref of the mirror that moved; a zero id stands for a ref that was not there, or is not any more.
type RefChange struct {
	Ref      string
	Old, New gitobject.ID
}

// Fetch brings the mirror to where the remote is and returns what moved, ordered by ref. The first one makes the
// mirror. Whatever stops it half way, the mirror stays usable, and refs that had moved already are reported.
func (r *Repo) Fetch(ctx context.Context) ([]RefChange, error) {
	leave, err := r.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	defer r.rested(time.Now())
	before := r.snapshot()
	err = r.fetch(ctx)
	if needsNewMirror(err) && !r.rebuilt.Swap(true) {
		if err = r.discard(); err == nil {
			err = r.fetch(ctx)
		}
	}
	changed := r.changesSince(before)
	if len(changed) > 0 {
		r.cfg.OnChange(changed)
	}
	return changed, withKind(err)
}

// rested notes when those who fetch again and again may do so next.
func (r *Repo) rested(began time.Time) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest = now.Add(now.Sub(began))
}

// Rest is how long whoever is told of every change of the remote should wait before he fetches: as long after the last fetch
// as that took, whoever made it. A push waits for a fetch that is under way, and what it was made from must still be new then:
// on a branch that others push to all the time there would always be one.
func (r *Repo) Rest() time.Duration {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return max(0, time.Until(r.rest))
}

func (r *Repo) fetch(ctx context.Context) error {
	if r.Algorithm() == 0 {
		if err := r.initialise(ctx); err != nil {
			return err
		}
	}
	_, failed := r.run(ctx, command{
		args: []string{
			"fetch", "--quiet", "--prune", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules",
			remoteName,
		},
		remote:  true,
		timeout: r.cfg.FetchTimeout,
	})
	if ctx.Err() != nil {
		return failed
	}
	return errors.Join(failed, r.readRefs(ctx))
}

// initialise makes the mirror with the hash that the remote uses.
func (r *Repo) initialise(ctx context.Context) error {
	refs, err := r.remoteRefs(ctx)
	if err != nil {
		return err
	}
	algorithm := gitobject.SHA1
	for _, id := range refs {
		algorithm = id.Algorithm()
	}
	return r.create(algorithm)
}

// damage is what git says of a mirror whose files were lost or cut, by a full disk or a power failure, and of one that
// was made while the remote was empty and its hash unknown.
var damage = regexp.MustCompile(`(?m)^(?:error|fatal): (?:.*(?:is corrupt|is empty|bad object|invalid sha1 pointer|` +
	`loose object .* corrupt|unable to unpack .* header|is far too short|does not match index|inflate: data stream error)|` +
	`mismatched algorithms|bad config|not a git repository)`)

func needsNewMirror(err error) bool {
	failed, ok := errors.AsType[*commandError](err)
	return ok && damage.MatchString(failed.own)
}

// Ref is a name and what it points to; for an annotated tag that is the tag object.
type Ref struct {
	Name string
	ID   gitobject.ID
}

// Tip is what a full ref name points to in the mirror.
func (r *Repo) Tip(ref string) (gitobject.ID, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	id, ok := r.refs[ref]
	return id, ok
}

// Refs are the mirror's refs under a prefix such as "refs/heads/", ordered by name.
func (r *Repo) Refs(prefix string) []Ref {
	var out []Ref
	for name, id := range r.snapshot() {
		if strings.HasPrefix(name, prefix) {
			out = append(out, Ref{Name: name, ID: id})
		}
	}
	slices.SortFunc(out, func(a, b Ref) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// RemoteTip asks the remote itself where a ref is, past the mirror.
func (r *Repo) RemoteTip(ctx context.Context, ref string) (gitobject.ID, bool, error) {
	refs, err := r.remoteRefs(ctx, ref)
	if err != nil {
		return gitobject.ID{}, false, withKind(err)
	}
	id, ok := refs[ref]
	return id, ok, nil
}

func (r *Repo) remoteRefs(ctx context.Context, names ...string) (map[string]gitobject.ID, error) {
	out, err := r.run(ctx, command{
		args:    append([]string{"ls-remote", "--quiet", remoteName}, names...),
		remote:  true,
		timeout: r.cfg.PushTimeout,
	})
	if err != nil {
		return nil, err
	}
	return parseRefs(out)
}

// readRefs takes over what the mirror's refs are on disk.
func (r *Repo) readRefs(ctx context.Context) error {
	out, err := r.run(ctx, command{args: []string{"for-each-ref", "--format=%(objectname)%09%(refname)"}})
	if err != nil {
		return err
	}
	refs, err := parseRefs(out)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refs = refs
	return nil
}

func parseRefs(out []byte) (map[string]gitobject.ID, error) {
	refs := map[string]gitobject.ID{}
	for line := range bytes.Lines(out) {
		hex, name, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), "\t")
		if !ok {
			return nil, fault.New(fault.Internal, "git printed %q for a ref", clip(string(line)))
		}
		id, err := gitobject.ParseID(hex)
		if err != nil {
			return nil, fmt.Errorf("ref %q: %w", name, err)
		}
		refs[name] = id
	}
	return refs, nil
}

// snapshot is the refs as they are now; the map is never written to again.
func (r *Repo) snapshot() map[string]gitobject.ID {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.refs
}

func (r *Repo) changesSince(before map[string]gitobject.ID) []RefChange {
	var changed []RefChange
	after := r.snapshot()
	for name, id := range after {
		if before[name] != id {
			changed = append(changed, RefChange{Ref: name, Old: before[name], New: id})
		}
	}
	for name, id := range before {
		if _, still := after[name]; !still {
			changed = append(changed, RefChange{Ref: name, Old: id})
		}
	}
	slices.SortFunc(changed, func(a, b RefChange) int { return strings.Compare(a.Ref, b.Ref) })
	return changed
}
