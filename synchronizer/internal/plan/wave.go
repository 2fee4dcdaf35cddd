package plan

import (
	"cmp"
	"fmt"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

// gate holds back the steps of later waves while an object of an earlier one is not written or not Current. What was there
// before and was changed or removed by somebody is put right at once, whatever its wave.
func (p *planner) gate() {
	behind := p.unsettled()
	if behind == nil {
		return
	}
	kept := p.out.Steps[:0]
	for _, s := range p.out.Steps {
		if s.waits(behind) {
			p.out.Waiting = append(p.out.Waiting, s)
			continue
		}
		kept = append(kept, s)
	}
	p.out.Steps = kept
	if len(p.out.Waiting) > 0 {
		p.out.Behind = describe(behind)
	}
}

func describe(d *render.Desired) string {
	if d.Policy.Hook != "" {
		return fmt.Sprintf("%s, a %s hook", d.Key, d.Policy.Hook)
	}
	return fmt.Sprintf("%s of wave %d", d.Key, d.Policy.Wave)
}

func (s Step) waits(behind *render.Desired) bool {
	return s.Action == Apply && s.Desired.Policy.Wave > behind.Policy.Wave && s.Reason != Drifted && s.Reason != Vanished &&
		s.Desired.Policy.Hook != v1alpha1.HookOnFailure
}

// WaitsForHooksOnly reports whether every object but post-sync hooks has been attempted.
func (p Plan) WaitsForHooksOnly() bool {
	for _, s := range p.Waiting {
		if s.Desired.Policy.Hook != v1alpha1.HookPostSync {
			return false
		}
	}
	return true
}

// unsettled returns the first object, in the order of waves and keys, that is not written or not Current; nil for none, and
// when all objects are of one wave.
func (p *planner) unsettled() *render.Desired {
	if !p.hasWaves() {
		return nil
	}
	pending := make(map[object.Key]bool, len(p.out.Steps)+len(p.out.Conflicts))
	for _, list := range [][]Step{p.out.Steps, p.out.Conflicts} {
		for _, s := range list {
			pending[s.Key] = true
		}
	}
	var first *render.Desired
	for i := range p.in.Desired {
		d := &p.in.Desired[i]
		live, exists := p.in.Live[d.Key]
		if d.Policy.Hook == v1alpha1.HookOnFailure || !pending[d.Key] && (!exists || live.Current && !live.Deleting) {
			continue
		}
		if first == nil || cmp.Or(cmp.Compare(d.Policy.Wave, first.Policy.Wave), d.Key.Compare(first.Key)) < 0 {
			first = d
		}
	}
	return first
}

func (p *planner) hasWaves() bool {
	for i := range p.in.Desired {
		if p.in.Desired[i].Policy.Wave != p.in.Desired[0].Policy.Wave {
			return true
		}
	}
	return false
}
