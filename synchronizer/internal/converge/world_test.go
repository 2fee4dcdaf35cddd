package converge

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
	"github.com/tandem-cd/tandem/synchronizer/internal/syncs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// world is everything around the loop in memory: a cluster whose objects are Current as soon as they are applied, unless
// told otherwise, a repository, and an ear for what is said. It outlives a loop, as a cluster outlives a process.
type world struct {
	t    *testing.T
	loop *Loop

	mu        sync.Mutex
	objects   map[object.Key]live.Record
	inventory map[types.UID]map[object.Key]inventory.Entry
	resources map[string]*v1alpha1.Sync
	trees     map[gitobject.ID]render.Result
	refusals  map[gitobject.ID]string
	fail      map[string]error // by object, for applies
	health    health.Status    // of what is applied from now on
	hold      chan struct{}    // applies wait for it when it is not nil
	stuck     map[string]bool  // labels whose applies wait; all when nil
	unsynced  bool
	refused   error // why what is not synced cannot be
	renderErr error
	renders   int
	reads     []string                              // objects that were forgotten and read again
	alone     error                                 // why no Sync may depend on another
	judges    map[string]*health.Judge              // by label
	seeing    map[string]*health.Judge              // by label, of what is looked at
	sent      *unstructured.Unstructured            // what Git says of every object
	read      map[string]*unstructured.Unstructured // what objects are like when they are read, by name
	answers   map[string]*unstructured.Unstructured // what applies answer

	did    []string // applies, removals and status writes, in order
	said   []string // facts
	ids    []string // their identities
	events []string
	heard  []string // what events and facts say
	bases  map[string]gitobject.ID
	named  map[string]string // incarnations, by Sync

	inline bool                             // whether inventories are so small that they are in the status
	blind  bool                             // whether those who observe see nothing
	plans  int                              // how often was looked at what a Sync owns
	needs  map[string][]v1alpha1.ObjectKind // by label
	forgot []string                         // the uids of Syncs whose inventories were

	listing string // the label of the Sync that waits for a list; empty for none

	others    others // in the cluster, and nobody's
	previewed int    // how often a preview was asked for
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{
		t: t, objects: map[object.Key]live.Record{}, inventory: map[types.UID]map[object.Key]inventory.Entry{},
		resources: map[string]*v1alpha1.Sync{}, trees: map[gitobject.ID]render.Result{}, refusals: map[gitobject.ID]string{},
		fail: map[string]error{}, health: health.Status{State: health.Current}, bases: map[string]gitobject.ID{}, named: map[string]string{},
		needs:  map[string][]v1alpha1.ObjectKind{},
		judges: map[string]*health.Judge{}, seeing: map[string]*health.Judge{}, read: map[string]*unstructured.Unstructured{}, answers: map[string]*unstructured.Unstructured{},
	}
}

// clusterJudge compiles the shipped rules once for all tests.
var clusterJudge = sync.OnceValue(func() *health.Judge {
	judge, err := health.NewJudge(nil)
	if err != nil {
		panic(err)
	}
	return judge
})

// run starts a loop, does what a story says, and stops the loop as a kill does.
func (w *world) run(story func()) {
	log, _ := logtest.New(w.t)
	w.loop = New(Deps{
		Permit:   func(string, revision.Source, []string) error { return nil },
		DependOn: func(string, string) error { return w.alone },
		Relay:    w, Trees: w, Verifier: w, Renderer: w, Live: w, Sight: sight{w}, Inventory: records{w}, Applier: w, Previewer: w.previewer(), Syncs: w, Events: w, Reporter: w, Log: log, Workers: 2, Health: clusterJudge(),
	})
	ctx, kill := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.loop.Run(ctx) })
	for _, s := range w.resources {
		w.loop.SyncChanged(s.DeepCopy())
	}
	w.loop.SyncsListed()
	synctest.Wait()
	story()
	synctest.Wait()
	kill()
	running.Wait()
}

// settle lets everything that is due now happen.
func (w *world) settle() { synctest.Wait() }

// pass lets time pass, and what is due in it happen.
func (w *world) pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock
	synctest.Wait()
}

// apply makes a Sync, or changes it.
func (w *world) sync(change func(*v1alpha1.Sync)) { w.syncNamed("web", "uid-1", change) }

// syncNamed does so with another Sync. The Sync "db" has the objects whose names begin with db, and every other the rest.
func (w *world) syncNamed(name, uid string, change func(*v1alpha1.Sync)) {
	s := &v1alpha1.Sync{}
	s.Namespace, s.Name, s.UID = "shop", name, types.UID(uid)
	s.Spec.Source = v1alpha1.Source{Repository: "deploy", Ref: "refs/heads/main"}
	s.Spec.Path = "env"
	w.mu.Lock()
	if known := w.resources[name]; known != nil {
		s = known.DeepCopy()
	}
	w.mu.Unlock()
	s.Generation++
	if change != nil {
		change(s)
	}
	w.mu.Lock()
	w.resources[name] = s
	changed := s.DeepCopy()
	w.mu.Unlock()
	w.loop.SyncChanged(changed)
	w.settle()
}

// commit makes a commit that holds ConfigMaps, each "name" or "name=version", with "@wave", "!hook" or "~drift policy" behind it or
// not; the same list has the same content.
func (w *world) commit(name string, configMaps ...string) gitobject.ID {
	id, err := gitobject.Hash(gitobject.SHA1, gitobject.TypeCommit, []byte(name))
	if err != nil {
		w.t.Fatal(err)
	}
	result := render.Result{Broken: map[string]bool{}}
	for _, text := range configMaps {
		rest, leave, _ := strings.Cut(text, "~")
		rest, hook, _ := strings.Cut(rest, "!")
		rest, number, _ := strings.Cut(rest, "@")
		objectName, _, _ := strings.Cut(rest, "=")
		wave, _ := strconv.Atoi(number)
		policy := render.Policy{Wave: wave, Hook: v1alpha1.Hook(hook), Drift: v1alpha1.DriftPolicy(leave)}
		switch policy.Hook {
		case v1alpha1.HookPreSync:
			policy.Wave = render.PreSyncWave
		case v1alpha1.HookPostSync:
			policy.Wave = render.PostSyncWave
		case v1alpha1.HookOnFailure:
		}
		result.Objects = append(result.Objects, render.Desired{
			Key: key(objectName), GVK: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, Hash: sha256.Sum256([]byte(text)),
			Origin: object.Origin{File: "env/" + objectName + ".yaml", Line: 1}, Object: &unstructured.Unstructured{Object: map[string]any{}},
			Policy: policy,
		})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trees[id] = result
	return id
}

func key(name string) object.Key {
	return object.Key{Kind: "ConfigMap", Namespace: "shop", Name: name}
}

// deliver hands commits over as the relay does.
func (w *world) deliver(commits ...gitobject.ID) {
	w.mu.Lock()
	names := slices.Collect(maps.Keys(w.resources))
	w.mu.Unlock()
	w.deliverTo(names, commits...)
}

// deliverTo does so for some Syncs.
func (w *world) deliverTo(names []string, commits ...gitobject.ID) {
	w.mu.Lock()
	chains := map[string]relay.Chain{}
	for _, name := range names {
		chains["shop/"+name] = relay.Chain{Base: w.bases["shop/"+name], Commits: commits}
	}
	w.mu.Unlock()
	source := revision.Source{Repository: "deploy", Ref: "refs/heads/main"}
	head := commits[len(commits)-1]
	w.loop.Announced(source, head, time.Now())
	w.loop.Deliver(relay.Delivery{
		Source: source, Commit: head, Announced: time.Now(), Received: time.Now(),
		Chains: chains,
	})
	w.settle()
}

// touch changes an object behind the loop's back.
func (w *world) touch(name string, change func(*live.Record)) {
	w.mu.Lock()
	r := w.objects[key(name)]
	change(&r)
	w.objects[key(name)] = r
	if r.UID == "" {
		delete(w.objects, key(name))
	}
	names := slices.Collect(maps.Keys(w.resources))
	w.mu.Unlock()
	for _, name := range names {
		w.loop.ObjectChanged(v1alpha1.Label("shop", name))
	}
	w.settle()
}

// took returns what was done since the last time it was asked.
func (w *world) took() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	did := w.did
	w.did = nil
	if did == nil {
		did = []string{}
	}
	return did
}

// told returns the facts since the last time it was asked.
func (w *world) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := w.said
	w.said = nil
	if said == nil {
		said = []string{}
	}
	return said
}

func (w *world) status() v1alpha1.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.resources["web"].Status
}

// list begins or ends the listing of a new kind of one Sync; empty for none.
func (w *world) list(name string) {
	w.mu.Lock()
	w.listing = ""
	if name != "" {
		w.listing = v1alpha1.Label("shop", name)
	}
	w.mu.Unlock()
	for _, each := range []string{"db", "web"} {
		w.loop.ObjectChanged(v1alpha1.Label("shop", each))
	}
	w.settle()
}

// mend lets an object be applied that was refused.
func (w *world) mend(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.fail, name)
}

// The interfaces of Deps.

func (w *world) Follow(subs []relay.Subscription) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.bases)
	for _, sub := range subs {
		for _, tree := range sub.Trees {
			w.bases[tree.Sync], w.named[tree.Sync] = tree.Base, tree.Incarnation
		}
	}
}

func (w *world) ContentID(_ context.Context, commit gitobject.ID, _ []string) (revision.ContentID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	hash := sha256.New()
	for _, d := range w.trees[commit].Objects {
		hash.Write(d.Hash[:])
	}
	return revision.ContentID(hash.Sum(nil)), nil
}

// Verify follows a chain to the first commit that is refused and not accepted.
func (w *world) Verify(_ context.Context, r VerifyRequest) (Verdict, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	verdict := Verdict{Verified: r.Chain.Base}
	for _, commit := range r.Chain.Commits {
		if why := w.refusals[commit]; why != "" && !slices.Contains(r.Accepted, commit) {
			verdict.Refusal = &v1alpha1.Problem{Kind: v1alpha1.ProblemVerify, Message: why, Commit: commit.String()}
			return verdict, nil
		}
		verdict.Verified = commit
	}
	return verdict, nil
}

// Render takes what did not change from before, forgotten or not, as the real one does.
func (w *world) Render(_ context.Context, s *v1alpha1.Sync, commit gitobject.ID, before *render.Result) (render.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.renders++
	tree := w.trees[commit]
	tree.Objects = slices.DeleteFunc(slices.Clone(tree.Objects), func(d render.Desired) bool {
		return strings.HasPrefix(d.Key.Name, "db") != (s.Name == "db")
	})
	for i := 0; before != nil && i < len(tree.Objects); i++ {
		d := &tree.Objects[i]
		if at := slices.IndexFunc(before.Objects, func(b render.Desired) bool { return b.Key == d.Key && b.Hash == d.Hash }); at >= 0 {
			d.Object = before.Objects[at].Object
		}
	}
	return tree, w.renderErr
}

func (w *world) Load(_ context.Context, objects []*render.Desired) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range objects {
		if d.Object == nil {
			d.Object = &unstructured.Unstructured{Object: map[string]any{}}
			w.reads = append(w.reads, d.Key.Name)
		}
		if w.sent != nil {
			d.Object = w.sent
		}
	}
	return nil
}

func (w *world) Judge(label string, judge *health.Judge) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judges[label] = judge
}

func (w *world) Need(label string, kinds []v1alpha1.ObjectKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.needs[label] = kinds
}

func (w *world) Release(string) {}

func (w *world) Synced(label string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.unsynced && label != w.listing
}

func (w *world) Failures(string) []error { return nil }

func (w *world) Unlisted(label string) []live.Unlisted {
	if w.Synced(label) {
		return nil
	}
	return []live.Unlisted{{Kind: schema.GroupKind{Kind: "ConfigMap"}, Refused: w.refused}}
}

func (w *world) Get(k object.Key) (live.Record, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.objects[k]
	return r, ok
}

func (w *world) Owned(label string) []live.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plans++
	var owned []live.Record
	for _, r := range w.objects {
		if r.Sync == label {
			owned = append(owned, r)
		}
	}
	return owned
}

func (w *world) OwnedKinds(label string) []v1alpha1.ObjectKind {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kinds []v1alpha1.ObjectKind
	for _, r := range w.objects {
		if r.Sync == label && r.Owned() {
			kinds = append(kinds, v1alpha1.ObjectKind{Group: r.GVK.Group, Version: r.GVK.Version, Kind: r.GVK.Kind, Namespaced: r.Key.Namespace != ""})
		}
	}
	return kinds
}

func (w *world) Labelled(kind v1alpha1.ObjectKind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(slices.Collect(maps.Values(w.objects)), func(r live.Record) bool {
		return r.GVK.Group == kind.Group && r.GVK.Kind == kind.Kind
	})
}

func (w *world) Observe(*unstructured.Unstructured) {}
func (w *world) Images(string) []live.Image         { return nil }

// records is the world's inventory.
type records struct{ *world }

func (r records) Load(_ context.Context, s *v1alpha1.Sync) (map[object.Key]inventory.Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Collect(maps.All(r.inventory[s.UID])), nil
}

func (r records) Save(_ context.Context, s *v1alpha1.Sync, entries map[object.Key]inventory.Entry) (inventory.Kept, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inventory[s.UID] = maps.Clone(entries)
	if r.inline {
		sum := sha256.Sum256(fmt.Append(nil, entries))
		return inventory.Kept{Inline: sum[:]}, nil
	}
	return inventory.Kept{Shards: 1}, nil
}

func (r records) Forget(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgot = append(r.forgot, string(uid))
}

// Run applies and removes; unless there is another one, the answer to an apply has no managed fields, so that baselines are zero
// until somebody touches one.
func (w *world) Run(ctx context.Context, _ apply.Identity, label string, steps []plan.Step, done func(apply.Result)) error {
	for _, step := range steps {
		if w.hold != nil && (w.stuck == nil || w.stuck[label]) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-w.hold:
			}
		}
		done(w.step(label, step))
	}
	return ctx.Err()
}

func (w *world) step(label string, step plan.Step) apply.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := step.Key.Name
	if err := w.fail[name]; err != nil {
		w.did = append(w.did, "fail "+name)
		return apply.Result{Step: step, Err: err}
	}
	if step.Action == plan.Delete {
		w.did = append(w.did, "remove "+name)
		delete(w.objects, step.Key)
		return apply.Result{Step: step}
	}
	w.did = append(w.did, "apply "+name)
	uid := types.UID("uid of " + name)
	result := apply.Result{Step: step, Object: &unstructured.Unstructured{Object: map[string]any{}}}
	if answer := w.answers[name]; answer != nil {
		result.Object = answer.DeepCopy()
	}
	result.Object.SetUID(uid)
	digest, _ := baseline.Of(result.Object, v1alpha1.FieldManager)
	w.objects[step.Key] = live.Record{
		Key: step.Key, GVK: step.Desired.GVK, UID: uid, Sync: label, OwnerNamesItself: true, Ours: true, Baseline: digest, Health: w.health,
	}
	if step.Explain {
		result.Before = w.read[name]
	}
	return result
}

func (w *world) WriteStatus(_ context.Context, s *v1alpha1.Sync) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did = append(w.did, "status "+string(s.Status.State))
	if resource := w.resources[s.Name]; resource != nil {
		resource.Status = *s.Status.DeepCopy()
	}
	return nil
}

func (w *world) AddFinalizer(_ context.Context, s *v1alpha1.Sync) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resources[s.Name].Finalizers = []string{v1alpha1.Finalizer}
	return nil
}

func (w *world) RemoveFinalizer(_ context.Context, s *v1alpha1.Sync) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did = append(w.did, "let go")
	w.resources[s.Name].Finalizers = nil
	return nil
}

func (w *world) Record(e syncs.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e.Reason)
	w.heard = append(w.heard, e.Reason+": "+e.Message)
}

func (w *world) Fact(f report.Fact) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := fmt.Sprintf("%s/%d %s", f.State, f.Attempt, f.Content.Short())
	if slices.Contains(w.ids, id) {
		return // as the automator does
	}
	w.ids = append(w.ids, id)
	w.said = append(w.said, fmt.Sprintf("%s/%d", f.State, f.Attempt))
}

func (w *world) Status(*v1alpha1.Sync, bool, []report.Image) error { return nil }
func (w *world) Removed(string, string)                            {}

func deletedNow() *metav1.Time {
	now := metav1.Now()
	return &now
}
