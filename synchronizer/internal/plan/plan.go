// Package plan decides what to do with the objects of a Sync: desired, live and owned objects in, ordered steps with
// reasons out.
//
// Pure. Planning what has just been applied gives an empty plan.
package plan

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

// The guard: a plan that removes more than half of what a Sync owns, and at least this many objects, asks first.
const (
	guardObjects = 10
	guardShare   = 2
)

// Live is what is known about an object that carries a Sync's label.
type Live struct {
	UID types.UID
	// GVK is the version that it was read in.
	GVK schema.GroupVersionKind
	// Sync is the value of the label.
	Sync string
	// Owned says that the object's annotation names the object itself and that our manager applied it.
	Owned bool
	// Baseline is the digest of our path set and the values there.
	Baseline [32]byte
	// Deleting says that it is on its way out.
	Deleting bool
	// Current says that its health is Current.
	Current bool
	// Keep says that it asks to stay when it is gone from Git, and Confirm that it asks for consent.
	Keep, Confirm bool
	// Writers are the other managers that wrote to it, for messages.
	Writers []string
}

// Input is everything that a plan depends on.
type Input struct {
	// Label is the Sync's value of LabelSync.
	Label string
	// Desired are the objects of Git, each once.
	Desired []render.Desired
	// Broken are the files that could not be used: what they used to hold is unknown.
	Broken map[string]bool
	// Incomplete says that the render failed as a whole: nothing is pruned.
	Incomplete bool
	// Live are the objects that carry the Sync's label.
	Live map[object.Key]Live
	// Recorded is the Sync's inventory.
	Recorded map[object.Key]inventory.Entry
	// Drift says what happens to objects that somebody else changed, unless they say so themselves.
	Drift v1alpha1.DriftPolicy
	// Rests reports whether an object that differs is left so for now, because somebody undoes what is healed. It may be nil.
	Rests func(object.Key) bool
	// Unseen reports whether nobody knows if an object is there. It may be nil.
	Unseen func(object.Key) bool
	// Owner returns the label of another Sync that owns an object; empty for none. It may be nil.
	Owner func(object.Key) string
	// Failed says that the content has failed, which is what on-failure hooks run for.
	Failed bool
	// Prune says whether what is gone from Git is removed; AllowPrune that the guard was answered.
	Prune, AllowPrune bool
}

// Action is what a step does.
type Action uint8

// The actions.
const (
	Apply Action = iota + 1
	Delete
)

// Reason says why a step is taken.
type Reason string

// The reasons.
const (
	New        Reason = "new"        // not known to be in the cluster
	Changed    Reason = "changed"    // Git says something else than before
	Drifted    Reason = "drifted"    // somebody changed a managed field
	Vanished   Reason = "vanished"   // somebody removed it, or took our label off
	Unrecorded Reason = "unrecorded" // its record was lost; applying tells
	Gone       Reason = "gone"       // no longer in Git
)

// Step is one thing to do.
type Step struct {
	Action Action
	Key    object.Key
	// Desired is what to apply; nil for a removal.
	Desired *render.Desired
	// GVK is the version in which to remove; an apply takes Desired's.
	GVK schema.GroupVersionKind
	// UID is the object that is meant by a removal: another under its name is left alone.
	UID types.UID
	// Exists says that an object of ours is known to be there.
	Exists bool
	// Stage orders steps: a lower stage is done before a higher one begins.
	Stage  int
	Reason Reason
	// Writers are who changed it, for Drifted.
	Writers []string
	// Found is the baseline digest of what is live, for Drifted.
	Found [32]byte
	// Explain asks for the object to be read before it is written, so that people can be told what was changed in it.
	Explain bool
}

// Plan is what to do.
type Plan struct {
	// Steps are ordered by stage, then key; removals come last.
	Steps []Step
	// Waiting are steps of later waves, and Behind is the first object of an earlier one that they wait for.
	Waiting []Step
	Behind  string
	// Unchanged counts the objects that are as they should be.
	Unchanged int
	// Drift are objects that differ and are left so, because the drift policy says so.
	Drift []Step
	// Resting are objects that differ and are left so for now.
	Resting []Step
	// Held are removals that wait for consent.
	Held []Step
	// Leaving are objects that are gone from Git and on their way out of the cluster, in the order of their keys.
	Leaving []object.Key
	// Conflicts are objects that another Sync owns, with that Sync's label as the only writer.
	Conflicts []Step
	// Owned counts the live objects that the Sync owns.
	Owned int
}

// Make plans.
func Make(in Input) Plan {
	p := &planner{in: in}
	for i := range in.Desired {
		p.desired(&in.Desired[i])
	}
	p.prune()
	p.gate()
	slices.SortFunc(p.out.Steps, compare)
	return p.out
}

func compare(a, b Step) int { return cmp.Or(cmp.Compare(a.Stage, b.Stage), a.Key.Compare(b.Key)) }

type planner struct {
	in     Input
	wanted int // live objects that Git asks for
	out    Plan
}

// desired decides about one object of Git.
func (p *planner) desired(d *render.Desired) {
	live, exists := p.in.Live[d.Key]
	recorded, known := p.in.Recorded[d.Key]
	if exists {
		p.wanted++
		p.own(live)
	}
	step := Step{Action: Apply, Key: d.Key, Desired: d, Stage: stageOf(d.Key), Exists: exists && live.Owned}
	switch {
	case p.leave(d, exists):
		p.out.Unchanged++
	case !exists && p.ownedElsewhere(&step):
		p.out.Conflicts = append(p.out.Conflicts, step)
	case exists && live.Deleting:
		// It cannot be made anew while it is on its way out; its end wakes the Sync.
	case known && recorded.Desired != d.Hash:
		step.Reason = Changed
		p.out.Steps = append(p.out.Steps, step)
	case !exists && known:
		step.Reason = Vanished
		p.drifted(step)
	case !exists:
		step.Reason = New
		p.out.Steps = append(p.out.Steps, step)
	case !known || recorded.UID != live.UID || !live.Owned:
		step.Reason = Unrecorded
		p.out.Steps = append(p.out.Steps, step)
	case recorded.Baseline != live.Baseline:
		step.Reason, step.Writers, step.Found = Drifted, live.Writers, live.Baseline
		p.drifted(step)
	default:
		p.out.Unchanged++
	}
}

// leave reports whether an object asks not to be written, or not again. A hook runs once. One that was there before it was to be made once is
// recorded without a baseline, and nobody watches it.
func (p *planner) leave(d *render.Desired, exists bool) bool {
	if d.Policy.Hook != "" {
		_, known := p.in.Recorded[d.Key]
		return known || d.Policy.Hook == v1alpha1.HookOnFailure && !p.in.Failed
	}
	switch d.Policy.Apply {
	case v1alpha1.ApplySkip:
		return true
	case v1alpha1.ApplyCreateOnly:
		recorded, known := p.in.Recorded[d.Key]
		return known && (exists || recorded.Foreign())
	default:
		return false
	}
}

// ownedElsewhere reports whether another Sync owns the object, and notes which.
func (p *planner) ownedElsewhere(s *Step) bool {
	if p.in.Owner == nil {
		return false
	}
	owner := p.in.Owner(s.Key)
	s.Writers = []string{owner}
	return owner != "" && owner != p.in.Label
}

// drifted does with a step what the drift policy says.
func (p *planner) drifted(step Step) {
	switch policy := cmp.Or(step.Desired.Policy.Drift, p.in.Drift); {
	case step.Reason == Vanished && p.in.Unseen != nil && p.in.Unseen(step.Key):
		p.out.Steps = append(p.out.Steps, step) // it may not have: whoever takes steps has to find out first
	case policy == v1alpha1.DriftReport:
		p.out.Drift = append(p.out.Drift, step)
	case policy == v1alpha1.DriftIgnore:
		p.out.Unchanged++
	case p.in.Rests != nil && p.in.Rests(step.Key):
		p.out.Resting = append(p.out.Resting, step)
	default:
		p.out.Steps = append(p.out.Steps, step)
	}
}

// own counts what the Sync owns, and reports whether it owns an object.
func (p *planner) own(live Live) bool {
	if live.Sync != p.in.Label || !live.Owned {
		return false
	}
	p.out.Owned++
	return true
}

// prune decides about what is owned and no longer in Git.
func (p *planner) prune() {
	if p.wanted == len(p.in.Live) {
		return // as in almost every plan: what Git asks for is all that there is
	}
	wanted := make(map[object.Key]bool, len(p.in.Desired))
	for i := range p.in.Desired {
		wanted[p.in.Desired[i].Key] = true
	}
	var removals []Step
	for key, live := range p.in.Live {
		if wanted[key] || !p.own(live) {
			continue
		}
		if live.Keep || !p.in.Prune || !p.knownGone(key) {
			continue
		}
		if live.Deleting {
			p.out.Leaving = append(p.out.Leaving, key)
			continue
		}
		removals = append(removals, Step{Action: Delete, Key: key, GVK: live.GVK, UID: live.UID, Stage: removalStage(key), Reason: Gone, Exists: true})
	}
	slices.SortFunc(p.out.Leaving, object.Key.Compare)
	slices.SortFunc(removals, compare)
	for _, step := range removals {
		if !p.in.AllowPrune && (p.tooMany(len(removals)) || holdsOthers(step.Key) || p.in.Live[step.Key].Confirm) {
			p.out.Held = append(p.out.Held, step)
			continue
		}
		p.out.Steps = append(p.out.Steps, step)
	}
}

// knownGone reports whether it is certain that Git no longer has an object: its file could be read, or no file failed.
func (p *planner) knownGone(key object.Key) bool {
	if p.in.Incomplete {
		return false
	}
	recorded, known := p.in.Recorded[key]
	if !known {
		return len(p.in.Broken) == 0
	}
	return !p.in.Broken[recorded.File]
}

func (p *planner) tooMany(removals int) bool {
	return removals >= guardObjects && removals*guardShare > p.out.Owned
}

// holdsOthers reports whether removing an object removes others with it, whose number nobody here knows.
func holdsOthers(key object.Key) bool {
	switch (object.Key{Group: key.Group, Kind: key.Kind}) {
	case object.Key{Kind: "Namespace"},
		object.Key{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"},
		object.Key{Group: v1alpha1.Group, Kind: v1alpha1.Kind}:
		return true
	}
	return false
}

// String is how people are told about a step.
func (s Step) String() string {
	verb := "apply"
	if s.Action == Delete {
		verb = "remove"
	}
	return fmt.Sprintf("%s %s (%s)", verb, s.Key, s.Reason)
}
