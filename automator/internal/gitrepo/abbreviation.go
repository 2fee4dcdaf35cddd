package gitrepo

import (
	"context"
	"strings"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// minAbbreviation is how many digits an abbreviated commit must have.
const minAbbreviation = 7

// ResolveCommit returns the commit that a full or abbreviated id means; a NotFound fault when the mirror has none, or
// more than one object that starts so.
func (r *Repo) ResolveCommit(ctx context.Context, abbreviation string) (gitobject.ID, error) {
	if len(abbreviation) < minAbbreviation || strings.Trim(abbreviation, "0123456789abcdef") != "" {
		return gitobject.ID{}, fault.New(fault.Invalid, "%.80q is not a commit of at least %d hexadecimal digits", abbreviation, minAbbreviation)
	}
	if r.Algorithm() == 0 {
		return gitobject.ID{}, r.absent()
	}
	out, err := r.run(ctx, command{args: []string{"rev-parse", "--verify", "--quiet", "--end-of-options", abbreviation + "^{commit}"}})
	if err != nil {
		if ctx.Err() != nil {
			return gitobject.ID{}, ctx.Err()
		}
		return gitobject.ID{}, fault.New(fault.NotFound, "repository %q has no single commit %s", r.cfg.Name, abbreviation)
	}
	return gitobject.ParseID(strings.TrimSpace(string(out)))
}
