package converge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
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
	holds     map[string]bool  // objects that a finalizer holds when they are removed
	health    health.Status    // of what is applied from now on
	hold      chan struct{}    // applies wait for it when it is not nil
	stuck     map[string]bool  // labels whose applies wait; all when nil
	unsynced  bool
	refused   error // why what is not synced cannot be
	renderErr error
	// contentErr is why nobody knows what commits hold.
	contentErr error
	renders    int
	reads      []string                              // objects that were forgotten and read again
	deaf       bool                                  // whether removals are answered, and nothing is done
	alone      error                                 // why no Sync may depend on another
	judges     map[string]*health.Judge              // by label
	seeing     map[string]*health.Judge              // by label, of what is looked at
	sent       *unstructured.Unstructured            // what Git says of every object
	read       map[string]*unstructured.Unstructured // what objects are like when they are read, by name
	answers    map[string]*unstructured.Unstructured // what applies answer

	did    []string                  // applies, removals and status writes, in order
	said   []string                  // facts
	ids    []string                  // their identities
	shown  map[string]v1alpha1.State // what the automator was told last, by Sync
	events []string
	heard  []string // what events and facts say
	bases  map[string]gitobject.ID
	named  map[string]string // incarnations, by Sync

	inline bool                             // whether inventories are so small that they are in the status
	blind  bool                             // whether those who observe see nothing
	plans  int                              // how often was looked at what a Sync owns
	needs  map[string][]v1alpha1.ObjectKind // by label
	forgot []string                         // the uids of Syncs whose inventories were

	saveErr error      // why inventories cannot be saved
	saved   [][]string // the facts that had been told, at each try

	listing string // the label of the Sync that waits for a list; empty for none

	others    others // in the cluster, and nobody's
	previewed int    // how often a preview was asked for

	signatures Signatures // nil when nothing must be signed

	owns    func(namespace, name string) bool // nil for a replica that works for all Syncs
	foreign map[string]bool                   // labels of which nothing is to be kept
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

// barred is a path that no Sync may have.
const barred = "barred"

func permit(_ string, _ revision.Source, paths []string) error {
	if slices.Contains(paths, barred) {
		return errBoom
	}
	return nil
}

// open makes a loop that does not run yet.
func (w *world) open() {
	log, _ := logtest.New(w.t)
	w.loop = New(Deps{
		Owns:       w.owns,
		Shared:     func() bool { return w.owns != nil },
		Permit:     permit,
		DependOn:   func(string, string) error { return w.alone },
		Signatures: w.signatures,
		Relay:      w, Trees: w, Verifier: w, Renderer: w, Live: w, Sight: sight{w}, Inventory: records{w}, Applier: w, Previewer: w.previewer(), Syncs: w, Events: w, Reporter: w, Log: log, Workers: 2, Health: clusterJudge(),
	})
}

// run starts a loop, does what a story says, and stops the loop as a kill does.
func (w *world) run(story func()) {
	w.open()
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

func key(name string) object.Key {
	return object.Key{Kind: "ConfigMap", Namespace: "shop", Name: name}
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

// set changes what the cluster is like.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// mend lets an object be applied that was refused.
func (w *world) mend(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.fail, name)
}

// The interfaces of Deps.

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

func (w *world) Status(s *v1alpha1.Sync, _ bool, _ []report.Image) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shown == nil {
		w.shown = map[string]v1alpha1.State{}
	}
	w.shown[s.Name] = s.Status.State
	return nil
}

func (w *world) Removed(string, string) {}

func deletedNow() *metav1.Time {
	now := metav1.Now()
	return &now
}
