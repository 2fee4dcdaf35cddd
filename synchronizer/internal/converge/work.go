package converge

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/drift"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
	"github.com/tandem-cd/tandem/synchronizer/internal/syncs"
)

// work is what the passes of one Sync remember. Everything that matters after a restart is in status and inventory.
type work struct {
	uid       types.UID       // of the Sync
	status    v1alpha1.Status // what is true now
	written   v1alpha1.Status // what the API server has
	wroteAt   time.Time
	owedSince time.Time // since when a status waits that may; zero for none
	inventory map[object.Key]inventory.Entry
	unsaved   bool // whether inventory is to be saved
	failures  map[object.Key]failure
	verified  gitobject.ID // the commit that is converged on
	content   revision.ContentID
	root      string             // the folder that is rendered
	rendered  *render.Result     // of the last content that was rendered; nil before the first
	current   bool               // whether rendered is of content
	over      revision.ContentID // what holds more than the Sync may; zero for none
	stale     time.Time          // when rendered is to be made anew, because the cluster did not know a kind; zero for never
	problems  problems
	refused   []live.Unlisted      // what the API server does not let us know
	unsigned  map[object.Key]error // why objects that are about to be written may not be
	hurried   bool                 // whether a person wants what is unsigned looked at now
	// comparison is of mode observe; nil in mode apply.
	comparison *comparison
	behind     string // the object that later waves wait for; empty when none waits
	// behindSince is since when it is waited for, and behindWhy why it is not there yet; empty when nobody knows.
	behindSince time.Time
	behindWhy   string
	patience    patience // with what was applied
	leaving     leaving
	attempts    int // passes in a row that could not do their work
	judged      judgement
	drifts      drifts
	rules       rules
	waits       waits
	// failedAt and failedAfter say for which visit of which content a failure was told.
	failedAt    revision.ContentID
	failedAfter int64
}

// problems are what is wrong, by the step that found it. A step replaces its own and nobody else's.
type problems struct {
	config, watch, source, verify, render, conflict, owned, apply, prune, fight, drift, health []v1alpha1.Problem
}

// all returns every problem, most severe first.
func (p problems) all() []v1alpha1.Problem {
	var list []v1alpha1.Problem
	for _, part := range [][]v1alpha1.Problem{p.config, p.verify, p.watch, p.source, p.render, p.conflict, p.owned, p.apply, p.prune, p.health, p.fight, p.drift} {
		list = append(list, part...)
	}
	return list
}

// judgement is what was verified last: the same again has the same verdict.
type judgement struct {
	delivery   *relay.Delivery
	generation int64 // of the Sync: whom it trusts may have changed
	accepted   string
}

// pass is one pass of one Sync.
type pass struct {
	loop      *Loop
	key       types.NamespacedName
	sync      *v1alpha1.Sync
	work      *work
	announced *announcement
	delivery  *relay.Delivery
	trouble   error
	paths     []string
	again     time.Duration // when the next pass is due by the clock; 0 for never
	facts     []report.Fact
	events    []syncs.Event
	attested  map[object.Key]bool // what is about to be written and was looked at
	withholds withholds
	settles   bool // whether a status that is owed is written, whoever waits
	hindered  bool // whether something could not be done
	listed    bool // whether all is known that can be
}

// soon asks for another pass after a time, unless an earlier one is asked for.
func (p *pass) soon(after time.Duration) {
	if after <= 0 {
		after = time.Millisecond
	}
	if p.again == 0 || after < p.again {
		p.again = after
	}
}

// pass does one pass and returns when the next one is due by the clock; 0 for never.
func (l *Loop) pass(ctx context.Context, key types.NamespacedName) time.Duration {
	p, ok := l.begin(key)
	if !ok {
		return 0
	}
	if p.delivery != nil && !p.enter() {
		return 0
	}
	began := now()
	p.run(ctx)
	l.metrics.passed(began, p.hindered)
	if !p.hindered {
		p.work.attempts = 0
	}
	return p.again
}

// begin takes what others left for a Sync. It reports false when there is nothing to do for it.
func (l *Loop) begin(key types.NamespacedName) (*pass, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	if e == nil {
		return nil, false
	}
	if e.gone {
		l.forget(key, e)
		if e.sync == nil {
			return nil, false
		}
		e = &entry{sync: e.sync, base: startOf(e.sync), announced: e.announced, delivery: e.delivery, trouble: e.trouble}
		l.entries[key] = e
		l.labels[e.sync.Label()] = key
	}
	if e.work == nil {
		e.work = &work{}
	}
	p := &pass{loop: l, key: key, sync: e.sync.DeepCopy(), work: e.work, announced: e.announced, delivery: e.delivery, trouble: e.trouble}
	if p.trouble == nil {
		p.trouble = e.denied
	}
	if e.delivery != nil {
		e.healthy, e.shown = false, nil // whoever depends on this Sync waits for what becomes of it
	}
	p.settles = e.settles
	e.work.hurried = e.work.hurried || e.now
	e.now, e.settles = false, false
	return p, true
}

// forget ends what runs for a Sync that is gone. The caller holds mu.
func (l *Loop) forget(key types.NamespacedName, e *entry) {
	label := v1alpha1.Label(key.Namespace, key.Name)
	l.deps.Live.Release(label)
	l.deps.Sight.Release(label)
	l.deps.Reporter.Removed(key.Namespace, key.Name)
	delete(l.entries, key)
	delete(l.labels, label)
	if e.work != nil {
		l.kinds.replace(e.work.written.Kinds, nil)
		l.deps.Inventory.Forget(e.work.uid)
	}
	e.work = nil
}

// run is the order of things. Each step says whether the ones behind it have something to stand on.
func (p *pass) run(ctx context.Context) {
	if !p.adopt(ctx) {
		return
	}
	switch {
	case p.sync.DeletionTimestamp != nil:
		p.remove(ctx)
		return
	case !p.configure(ctx):
	case !p.receive(ctx):
	case !p.render(ctx):
	case p.sync.Spec.Observes():
		p.compare(ctx)
	default:
		p.stepIn()
		p.apply(ctx)
		p.observe()
	}
	p.publish(ctx)
}

// adopt takes over where a former process, or the last pass, ended.
func (p *pass) adopt(ctx context.Context) bool {
	w := p.work
	if w.inventory != nil {
		p.sync.Status = w.status
		return true
	}
	w.uid = p.sync.UID
	entries, err := p.loop.deps.Inventory.Load(ctx, p.sync)
	if err != nil {
		p.failed("inventory not loaded", err)
		return false
	}
	w.inventory, w.failures = entries, map[object.Key]failure{}
	w.status, w.written = *p.sync.Status.DeepCopy(), *p.sync.Status.DeepCopy()
	w.root = cmp.Or(w.status.RenderedPath, p.sync.Root())
	p.loop.kinds.replace(nil, w.written.Kinds)
	if w.status.Verified != nil {
		w.verified, _ = gitobject.ParseID(w.status.Verified.Commit) // a status that somebody edited counts as none
		w.content, _ = revision.ParseContentID(w.status.Verified.ContentID)
	}
	for _, problem := range w.status.Problems {
		if problem.Kind == v1alpha1.ProblemVerify {
			w.problems.verify = append(w.problems.verify, problem) // until the chain has come again
		}
	}
	_ = p.judge() // before anything is known; configure says what is wrong
	p.loop.deps.Live.Need(p.sync.Label(), w.status.Kinds)
	p.resumePatience()
	p.recall()
	return true
}

// configure checks what the Sync itself says.
func (p *pass) configure(ctx context.Context) bool {
	w := p.work
	w.problems.config = nil
	paths, err := p.loop.pathsOf(p.sync)
	if err == nil {
		err = p.loop.mayDepend(p.sync)
	}
	if err == nil {
		err = p.loop.circle(p.sync)
	}
	if err == nil {
		err = p.judge()
	}
	if err == nil {
		err = p.compileReady()
	}
	if err != nil {
		w.problems.config = []v1alpha1.Problem{{Kind: v1alpha1.ProblemConfig, Message: sentence(err)}}
		return false
	}
	p.paths = paths
	if !slices.Equal(w.status.VerifiedPaths, paths) {
		p.unverify()
	}
	p.reroot()
	w.status.ObservedGeneration = p.sync.Generation
	if now := p.sync.Annotations[v1alpha1.AnnotationSyncNow]; now != w.status.SyncNow {
		w.status.SyncNow = now
		w.failures, w.drifts.fights = map[object.Key]failure{}, drift.Fights{} // everything is due now
		w.hurried = true
	}
	if p.sync.Spec.DeletionPolicy == v1alpha1.DeletionDelete && !p.sync.Spec.Observes() && !hasFinalizer(p.sync) {
		if err := p.loop.deps.Syncs.AddFinalizer(ctx, p.sync); err != nil {
			p.failed("finalizer not added", err)
		}
	}
	return true
}

// unverify forgets the last verified commit: it was verified for other paths, which says nothing about these.
func (p *pass) unverify() {
	w := p.work
	w.verified, w.content, w.current = gitobject.ID{}, revision.ContentID{}, false
	w.status.Verified, w.status.VerifiedPaths = nil, nil
	p.sync.Status.Verified = nil
}

func hasFinalizer(s *v1alpha1.Sync) bool {
	return slices.Contains(s.Finalizers, v1alpha1.Finalizer)
}

// sentence is an error as people read it: a capital first and a full stop last.
func sentence(err error) string {
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	if text == "" {
		return ""
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	if len(text) > maxMessage {
		text = text[:maxMessage-4] + "..."
	}
	return text
}

// maxMessage bounds a message in a status, in bytes; it is the protocol's.
const maxMessage = 1024

// failed logs why a pass could not do its work, and tries again later and later.
func (p *pass) failed(what string, err error) {
	p.loop.logger(p.key).Warn(what, errorField(err))
	p.soon(retryAfter(p.work.attempts))
	p.work.attempts++
	p.hindered = true
}
