package converge

import (
	"fmt"

	"github.com/tandem-cd/tandem/synchronizer/internal/render"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
)

// Names of hooks: what Git says, and for which content. A Job's name is part of its pods' labels, which hold 63 bytes.
const (
	maxHookName  = 63
	hookContent  = 8
	hookAttempts = "-%d"
)

// nameHooks gives each hook a name of its own for this visit of this content, so that it runs once for it, whatever process
// looks, and the Job of the content before is gone from Git.
func (p *pass) nameHooks(objects []render.Desired) {
	for i := range objects {
		if objects[i].Policy.Hook != "" {
			objects[i].Key.Name = p.hookName(objects[i].Key.Name)
		}
	}
}

func (p *pass) hookName(name string) string {
	end := "-" + shorten(p.work.content.String())[:hookContent]
	if received := p.work.status.Received; received != nil && received.Attempt > 0 {
		end += fmt.Sprintf(hookAttempts, received.Attempt)
	}
	return name[:min(len(name), maxHookName-len(end))] + end
}

// wasRemoved reports whether an object was applied and is no longer there. People remove it, and the own time to live of a
// Job that has run.
func (p *pass) wasRemoved(d *render.Desired) bool {
	_, recorded := p.work.inventory[d.Key]
	_, live := p.loop.deps.Live.Get(d.Key)
	return recorded && !live
}

// contentFailed reports whether the present content was told to have failed.
func (p *pass) contentFailed() bool {
	w := p.work
	return w.failedAt == w.content && w.failedAfter == w.status.Attempts[string(report.Healthy)]
}
