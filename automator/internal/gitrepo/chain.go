package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

const (
	// MaxChain is how many commits a chain may have.
	MaxChain = 10_000
	// nearby is how many commits are looked at before git is asked for the whole ancestry: enough for a few commits on
	// a branch, and cheaper than starting a process.
	nearby = 16
	// maxAncestry bounds the commits between two ends.
	maxAncestry = 200_000
)

// ErrNoChain says that one commit does not descend from the other. The error is a *NoChainError.
var ErrNoChain = errors.New("no chain of commits")

// NoChainError tells where two commits parted. Its kind is fault.Stale.
type NoChainError struct {
	Held, Want gitobject.ID
	// MergeBase is the newest commit that both descend from; zero when there is none or the held commit is unknown.
	MergeBase gitobject.ID
}

func (e *NoChainError) Error() string {
	if e.MergeBase.IsZero() {
		return fmt.Sprintf("no chain of commits from %s to %s: they have nothing in common", e.Held, e.Want)
	}
	return fmt.Sprintf("no chain of commits from %s to %s: they parted after %s", e.Held, e.Want, e.MergeBase)
}

// Is makes the error an ErrNoChain.
func (e *NoChainError) Is(target error) bool { return target == ErrNoChain }

// Chain is a shortest list of commits after held, up to and with want, in which each names the one before, and the
// first one held, as one of its parents. It is empty when both are the same. Without one the error is ErrNoChain.
func (r *Repo) Chain(ctx context.Context, held, want gitobject.ID) ([]gitobject.ID, error) {
	if held == want {
		return nil, nil
	}
	near := func(id gitobject.ID) ([]gitobject.ID, error) {
		commit, err := r.Commit(ctx, id)
		if err != nil {
			return nil, err
		}
		return commit.Parents, nil
	}
	chain, done, err := search(held, want, nearby, near)
	if err != nil && !fault.Is(err, fault.Invalid) { // a malformed commit beside the chain does not matter
		return nil, err
	}
	if chain == nil && !done {
		chain, err = r.farChain(ctx, held, want)
	}
	switch {
	case err != nil:
		return nil, err
	case chain == nil:
		return nil, r.noChain(ctx, held, want)
	case len(chain) > MaxChain:
		return nil, fault.New(fault.Stale, "chain of %d commits from %s to %s is longer than %d", len(chain), held, want, MaxChain)
	}
	return chain, nil
}

// farChain searches what lies between the two, which git finds quickly by the commit graph.
func (r *Repo) farChain(ctx context.Context, held, want gitobject.ID) ([]gitobject.ID, error) {
	if _, err := r.Commit(ctx, held); err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, nil
		}
		return nil, err
	}
	out, err := r.run(ctx, command{args: []string{
		"rev-list", "--parents", "--ancestry-path", "--max-count=" + strconv.Itoa(maxAncestry), "--end-of-options",
		want.String(), "^" + held.String(),
	}})
	if err != nil {
		return nil, err
	}
	parents := map[string][]string{}
	for line := range bytes.Lines(out) {
		fields := strings.Fields(string(line))
		if len(fields) > 0 {
			parents[fields[0]] = fields[1:]
		}
	}
	if len(parents) == maxAncestry {
		return nil, fault.New(fault.Stale, "more than %d commits lie between %s and %s", maxAncestry, held, want)
	}
	chain, _, err := search(held, want, maxAncestry, func(id gitobject.ID) ([]gitobject.ID, error) {
		return parseIDs(parents[id.String()])
	})
	return chain, err
}

// search walks from want towards its ancestors, level by level, until it meets held or has looked at limit commits;
// done says that nothing is left to look at.
func search(
	held, want gitobject.ID, limit int, parentsOf func(gitobject.ID) ([]gitobject.ID, error),
) (chain []gitobject.ID, done bool, err error) {
	child := map[gitobject.ID]gitobject.ID{want: {}}
	queue := []gitobject.ID{want}
	for looked := 0; len(queue) > 0; looked++ {
		if looked == limit {
			return nil, false, nil
		}
		at := queue[0]
		queue = queue[1:]
		parents, err := parentsOf(at)
		if err != nil {
			return nil, false, err
		}
		if slices.Contains(parents, held) {
			for ; !at.IsZero(); at = child[at] {
				chain = append(chain, at)
			}
			return chain, true, nil
		}
		for _, parent := range parents {
			if _, seen := child[parent]; !seen {
				child[parent] = at
				queue = append(queue, parent)
			}
		}
	}
	return nil, true, nil
}

func (r *Repo) noChain(ctx context.Context, held, want gitobject.ID) error {
	out, err := r.run(ctx, command{args: []string{"merge-base", "--end-of-options", held.String(), want.String()}})
	if err != nil && ctx.Err() != nil {
		return err
	}
	none := &NoChainError{Held: held, Want: want}
	if base, err := gitobject.ParseID(strings.TrimSpace(string(out))); err == nil {
		none.MergeBase = base
	}
	return fault.Wrap(fault.Stale, none)
}

// Reachable tells whether a commit is in the history of a ref that matches one of the patterns: full ref names, in which
// "*" stands for any characters but a slash.
func (r *Repo) Reachable(ctx context.Context, commit gitobject.ID, patterns []string) (bool, error) {
	var known []string
	for name, tip := range r.snapshot() {
		matches := slices.ContainsFunc(patterns, func(pattern string) bool {
			matched, err := path.Match(pattern, name)
			return err == nil && matched
		})
		if matches && tip == commit {
			return true, nil
		}
		if matches {
			known = append(known, name)
		}
	}
	if len(known) == 0 {
		return false, nil
	}
	if _, err := r.Commit(ctx, commit); err != nil {
		if fault.Is(err, fault.NotFound) {
			return false, nil
		}
		return false, err
	}
	args := []string{"for-each-ref", "--count=1", "--format=%(refname)", "--contains=" + commit.String()}
	out, err := r.run(ctx, command{args: append(args, known...)})
	return len(out) > 0, err
}

// Span is a part of history.
type Span struct {
	// Want is the newest commit of it.
	Want gitobject.ID
	// Held is what is known already: it and its ancestors are no part of it. Zero knows nothing.
	Held gitobject.ID
	// Paths are the folders or files that the commits touch; empty means any.
	Paths []string
	// Limit is how many commits are listed, the newest of them.
	Limit int
}

// Walk lists the commits of a span, every one before its parents. continues tells whether the span follows on what was
// held; if it does not, because history was rewritten, held excludes nothing.
func (r *Repo) Walk(ctx context.Context, span Span) (commits []gitobject.ID, continues bool, err error) {
	if span.Held == span.Want {
		return nil, true, nil
	}
	if few, ok := r.fewSince(ctx, span); ok {
		return few, true, nil
	}
	args := []string{"rev-list", "--topo-order", "--full-history", "--max-count=" + strconv.Itoa(span.Limit), span.Want.String()}
	if !span.Held.IsZero() {
		_, err := r.Chain(ctx, span.Held, span.Want)
		switch {
		case err == nil:
			continues = true
			args = append(args, "^"+span.Held.String())
		case !fault.Is(err, fault.Stale):
			return nil, false, err
		}
	}
	if len(span.Paths) > 0 && !slices.Contains(span.Paths, "") {
		args = append(append(args, "--"), span.Paths...)
	}
	out, err := r.run(ctx, command{args: args})
	if err != nil {
		return nil, false, err
	}
	commits, err = parseIDs(strings.Fields(string(out)))
	return commits, continues, err
}

// fewSince walks a span the way a branch moves nearly always: a few commits after what was held, each with one parent.
// Starting a process would take longer than all the rest of it. Of anything else, and of what cannot be read, it says
// nothing.
func (r *Repo) fewSince(ctx context.Context, span Span) (commits []gitobject.ID, ok bool) {
	if span.Held.IsZero() {
		return nil, false
	}
	at := span.Want
	for range min(nearby, span.Limit) {
		commit, err := r.Commit(ctx, at)
		if err != nil || len(commit.Parents) != 1 {
			return nil, false
		}
		touches, err := r.touches(ctx, commit, span.Paths)
		if err != nil {
			return nil, false
		}
		if touches {
			commits = append(commits, at)
		}
		if at = commit.Parents[0]; at == span.Held {
			return commits, true
		}
	}
	return nil, false
}

// touches tells whether a commit changes one of some paths; no paths are any.
func (r *Repo) touches(ctx context.Context, commit *gitobject.Commit, paths []string) (bool, error) {
	parent, err := r.Commit(ctx, commit.Parents[0])
	if err != nil {
		return false, err
	}
	if len(paths) == 0 || slices.Contains(paths, "") {
		return true, nil
	}
	for _, path := range paths {
		after, _, err := gitobject.Lookup(ctx, r, commit.Tree, path)
		if err != nil {
			return false, err
		}
		before, _, err := gitobject.Lookup(ctx, r, parent.Tree, path)
		if err != nil || after != before {
			return true, err
		}
	}
	return false, nil
}

func parseIDs(hexes []string) ([]gitobject.ID, error) {
	ids := make([]gitobject.ID, 0, len(hexes))
	for _, hex := range hexes {
		id, err := gitobject.ParseID(hex)
		if err != nil {
			return nil, fmt.Errorf("git printed %w", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}
