package converge

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/expression"
)

// readyEnvironment is what a readyExpr may use: the Sync that is depended on, and the one that depends.
var readyEnvironment = sync.OnceValues(func() (*expression.Environment, error) { //nolint:gochecknoglobals // made once, never changed
	return expression.NewEnvironment("dep", "self")
})

// waits are the expressions in a Sync's dependsOn, as they were understood last.
type waits struct {
	on       []v1alpha1.Dependency
	programs []*expression.Program // by index; nil where there is no expression
	err      error
}

// compileReady understands the expressions in dependsOn, when those changed.
func (p *pass) compileReady() error {
	w, now := p.work, p.sync.Spec.DependsOn
	if slices.Equal(w.waits.on, now) {
		return w.waits.err
	}
	w.waits = waits{on: now, programs: make([]*expression.Program, len(now))}
	for i, d := range now {
		if d.ReadyExpr == "" {
			continue
		}
		env, err := readyEnvironment()
		if err == nil {
			w.waits.programs[i], err = env.Bool(d.ReadyExpr)
		}
		if err != nil {
			w.waits.err = fault.New(fault.Invalid, "spec.dependsOn[%d].readyExpr: %w; correct it, and until then nothing of this Sync is applied", i, err)
			break
		}
	}
	return w.waits.err
}

// dependency is what is known of a Sync that another depends on.
type dependency struct {
	key     types.NamespacedName
	exists  bool
	healthy bool
	shown   *v1alpha1.Sync // nil while it works on what has arrived
	other   *foreign       // nil for a Sync that this replica works for
	trouble error          // why nothing arrives for it; nil when it does, and when nobody knows
}

// why says why a Sync is not ready that is waited for; empty when nothing but its time is needed, or when nobody knows.
func (d dependency) why() string {
	if d.trouble != nil {
		return d.trouble.Error()
	}
	if d.shown != nil && len(d.shown.Status.Problems) > 0 {
		return d.shown.Status.Problems[0].Message
	}
	return ""
}

// lookUp returns what is known of the Syncs that a Sync depends on, in their order, and has it woken when that changes.
func (l *Loop) lookUp(s *v1alpha1.Sync) []dependency {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}]; e != nil {
		e.waits = true
	}
	var list []dependency
	for _, key := range dependencies(s) {
		d := dependency{key: key}
		if e := l.entries[key]; e != nil && e.sync != nil {
			d.exists, d.healthy, d.trouble = true, e.ready(), cmp.Or(e.denied, e.trouble)
			if e.delivery == nil {
				d.shown = e.shown
			}
		} else if f := l.elsewhere.syncs[key]; f != nil {
			d.exists, d.other, d.trouble = true, f, f.trouble
		}
		list = append(list, d)
	}
	return list
}

// unmet says which dependency is not ready, and why that is; both are empty when all are. An error is an expression that cannot
// be answered.
func (p *pass) unmet(ctx context.Context) (behind, why string, err error) {
	for i, d := range p.loop.lookUp(p.sync) {
		program := p.work.waits.programs[i]
		if d.other != nil {
			d.healthy, d.shown = p.readyElsewhere(ctx, d.other)
		}
		switch {
		case !d.exists:
			return fmt.Sprintf("the Sync %s, which does not exist", d.key), p.loop.unseen(d.key.Namespace), nil
		case program == nil && !d.healthy:
			return fmt.Sprintf("the Sync %s to be healthy", d.key), d.why(), nil
		case program != nil && d.shown == nil:
			return fmt.Sprintf("the Sync %s to take in what has arrived", d.key), d.why(), nil
		case program == nil:
			continue
		}
		ready, err := p.isReady(program, d.shown)
		if text, missing := missingField(err); missing {
			return fmt.Sprintf("the Sync %s to be as spec.dependsOn[%d].readyExpr wants it", d.key, i), text, nil
		}
		if err != nil {
			return "", "", fault.New(fault.Invalid, "spec.dependsOn[%d].readyExpr, for the Sync %s: %w; correct it", i, d.key, err)
		}
		if !ready {
			return fmt.Sprintf("the Sync %s to be as spec.dependsOn[%d].readyExpr wants it", d.key, i), d.why(), nil
		}
	}
	return "", "", nil
}

// unseen says why no Sync of a namespace is known; empty when those would be.
func (l *Loop) unseen(namespace string) string {
	if len(l.deps.Namespaces) == 0 || slices.Contains(l.deps.Namespaces, namespace) {
		return ""
	}
	return fmt.Sprintf("this synchronizer does not look at namespace %q; list it under namespaces in the chart's values", namespace)
}

// isReady asks an expression about a Sync.
func (p *pass) isReady(program *expression.Program, dep *v1alpha1.Sync) (bool, error) {
	self := *p.sync
	self.Status = p.work.status
	objects := map[string]any{}
	for name, s := range map[string]*v1alpha1.Sync{"dep": dep, "self": &self} {
		view, err := viewOf(s)
		if err != nil {
			return false, err
		}
		objects[name] = view
	}
	out, err := program.Eval(objects)
	if err != nil {
		return false, err
	}
	ready, isBool := out.(bool)
	if !isBool {
		return false, fmt.Errorf("is %T: true or false is needed", out)
	}
	return ready, nil
}

// viewOf is a Sync as expressions see it.
func viewOf(s *v1alpha1.Sync) (map[string]any, error) {
	bare := *s
	bare.ManagedFields = nil
	object, err := bare.ToUnstructured()
	if err != nil {
		return nil, err
	}
	return object.Object, nil
}

// missingField reports whether an expression is about a field that is not there, as of a Sync that has no status yet.
func missingField(err error) (string, bool) {
	if err == nil || !strings.Contains(err.Error(), "no such key") {
		return "", false
	}
	return err.Error(), true
}

// show keeps what others may ask about a Sync, and wakes those that wait for it when that has changed. The caller holds mu.
func (l *Loop) show(e *entry, now *v1alpha1.Sync) {
	before := e.shown
	e.shown = now
	if before != nil && looksLike(before, now) {
		return
	}
	l.wake(types.NamespacedName{Namespace: now.Namespace, Name: now.Name})
}

// looksLike reports whether two states of a Sync are the same to those who depend on it.
func looksLike(before, now *v1alpha1.Sync) bool {
	return before.Generation == now.Generation && maps.Equal(before.Labels, now.Labels) &&
		maps.Equal(before.Annotations, now.Annotations) && reflect.DeepEqual(before.Status, now.Status)
}

// wake has those looked at again that wait for a Sync. The caller holds mu.
func (l *Loop) wake(on types.NamespacedName) {
	for key := range l.waiters[on] {
		if other := l.entries[key]; other != nil && other.waits {
			l.queue.Add(key)
		}
	}
}
