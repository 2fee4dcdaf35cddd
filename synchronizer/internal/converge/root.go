package converge

import (
	"fmt"

	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
)

// reroot begins anew with the content that is there when another folder of it is to be rendered. A content id says what the Sync's
// tree holds, path and include together, and not which folder is rendered: so that is another visit of the same content.
func (p *pass) reroot() {
	w, root := p.work, p.sync.Root()
	if w.root == root {
		return
	}
	w.root, w.status.RenderedPath = root, root
	if w.verified.IsZero() {
		return // nothing was rendered
	}
	at, commit, content := now(), w.verified, w.content
	w.status.Received = p.reach(report.Received, commit, content, at, fmt.Sprintf("Rendered from %q from now on.", root))
	w.status.Verified = p.reach(report.Verified, commit, content, at, fmt.Sprintf("Verified %.12s.", commit))
	w.status.Applied, w.status.Healthy, w.status.HealthySince, w.status.Observed = nil, nil, nil, nil
	w.current, w.over, w.failedAt = false, revision.ContentID{}, revision.ContentID{}
}
