package live

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// mapAgain is how soon kinds are mapped again after the cluster could not be
// asked.
const mapAgain = 5 * time.Second

// Config says what to watch and whom to tell.
type Config struct {
	// Namespaces are the only ones that namespaced objects are watched in;
	// empty means all.
	Namespaces []string
	// Changed is called with the label of a Sync when one of its records
	// changed in what it owns, in health or in existence, or when its watches
	// became complete. It MUST NOT block: it runs between two events.
	Changed func(label string)
	// ImagesChanged is called when the pods of a Sync run something else. It
	// MUST NOT block.
	ImagesChanged func(label string)
	// Health says how an object is doing; health.Of when nil.
	Health func(*unstructured.Unstructured) health.Status
	// Looking makes a store of objects that Syncs look at and need not own: whether they carry a label or not, but only those
	// that Look names. A record's Baseline is then what Digest says, and pods are not looked at.
	Looking bool
	// Digest is over what matters of an object that is looked at.
	Digest func(*unstructured.Unstructured) [32]byte
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
}

// Store holds the records of all objects that carry a Sync's label, of the
// kinds that Syncs need. Its methods may be called at any time.
type Store struct {
	config  Config
	client  dynamic.Interface
	mapper  *Mapper
	metrics *metrics
	wake    chan struct{} // there may be something to map, start or look at again

	mu      sync.RWMutex
	needs   map[string]needs               // by label of the Sync
	looked  map[object.Key]map[string]bool // by whom; nil unless Looking
	looks   map[string]map[object.Key]bool // the same by Sync: at what
	judges  map[string]*own                // by label of the Sync; of those that had a judge of their own
	epoch   uint32                         // how often judges have changed
	watches map[place]*watched
	byKind  map[schema.GroupKind][]*watched
	foreign map[string]bool        // labels of Syncs that another replica works for
	pods    map[string]*pods       // by namespace; none while no Sync has workloads
	waiting map[chan struct{}]bool // told of every change
}

// place is what a watch is of.
type place struct {
	resource  schema.GroupVersionResource
	namespace string
}

// changes collects the labels of Syncs that must look again.
type changes map[string]bool

// New returns a store that watches nothing before Run.
func New(config Config, client dynamic.Interface, mapper *Mapper) *Store {
	if len(config.Namespaces) == 0 {
		config.Namespaces = []string{""}
	}
	if config.Health == nil {
		config.Health = health.Of
	}
	s := &Store{
		config: config, client: client, mapper: mapper,
		wake:    make(chan struct{}, 1),
		needs:   map[string]needs{},
		judges:  map[string]*own{},
		watches: map[place]*watched{},
		byKind:  map[schema.GroupKind][]*watched{},
		foreign: map[string]bool{},
		pods:    map[string]*pods{},
		waiting: map[chan struct{}]bool{},
	}
	if config.Looking {
		s.looked, s.looks = map[object.Key]map[string]bool{}, map[string]map[object.Key]bool{}
	}
	s.metrics = newMetrics(config.Metrics, s)
	mapper.listen(s.look)
	return s
}

// Run keeps the records up to date until ctx is done.
func (s *Store) Run(ctx context.Context) error {
	var feeds sync.WaitGroup
	defer feeds.Wait()
	for {
		again := max(s.resolve(ctx), s.rejudge(ctx))
		start, soon := s.duePods(ctx)
		for _, run := range append(start, s.dueWatches(ctx)...) {
			feeds.Go(run)
		}
		var timer <-chan time.Time // never, as a rule
		if again = max(again, soon); again > 0 {
			timer = time.After(again)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer:
		}
	}
}

// Get returns the record of an object that carries a Sync's label.
func (s *Store) Get(key object.Key) (Record, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	w, e := s.find(key)
	if e == nil {
		return Record{}, false
	}
	return e.unpack(w.kind), true
}

// find returns an entry and its watch. The caller holds mu.
func (s *Store) find(key object.Key) (of *watched, found *entry) {
	at := idOf(key)
	for _, w := range s.byKind[schema.GroupKind{Group: key.Group, Kind: key.Kind}] {
		e := w.records[at]
		if e != nil && (found == nil || e.better(found)) {
			of, found = w, e
		}
	}
	return of, found
}

// Owned returns the records that carry a Sync's label, in no order, each
// object once although its kind may be watched in several versions. Ask each
// record with Owned whether it is no copy.
func (s *Store) Owned(label string) []Record {
	s.mu.RLock()
	defer s.mu.RUnlock()
	records := make([]Record, 0, s.count(label))
	s.owned(label, func(w *watched, e *entry) { records = append(records, e.unpack(w.kind)) })
	return records
}

// count is how many entries carry a Sync's label: more than objects do where a
// kind is watched in several versions. The caller holds mu.
func (s *Store) count(label string) (n int) {
	for _, w := range s.watches {
		n += len(w.bySync[label])
	}
	return n
}

// owned visits the entries that carry a Sync's label, each object once. The
// caller holds mu.
func (s *Store) owned(label string, visit func(*watched, *entry)) {
	for _, w := range s.watches { // other Syncs' too: a kind that this one has forgotten may be among them
		versions := len(s.byKind[w.kind.GroupKind()])
		for _, e := range w.bySync[label] {
			if versions == 1 || s.isBest(w, e) {
				visit(w, e)
			}
		}
	}
}

// OwnedKinds returns the kinds of which a Sync owns objects.
func (s *Store) OwnedKinds(label string) []v1alpha1.ObjectKind {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var kinds []v1alpha1.ObjectKind
	for _, w := range s.watches {
		for _, e := range w.bySync[label] {
			if e.owned() {
				kinds = append(kinds, v1alpha1.ObjectKind{Group: w.kind.Group, Version: w.kind.Version, Kind: w.kind.Kind, Namespaced: e.namespace.Value() != ""})
				break // one is enough
			}
		}
	}
	return kinds
}

// Labelled reports whether any object of a kind is known that carries a Sync's
// label.
func (s *Store) Labelled(kind v1alpha1.ObjectKind) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.ContainsFunc(s.byKind[kindOf(kind).GroupKind()], func(w *watched) bool { return len(w.bySync) > 0 })
}

// isBest reports whether an entry is the one that Get returns. The caller holds
// mu.
func (s *Store) isBest(w *watched, e *entry) bool {
	_, best := s.find(object.Key{Group: w.kind.Group, Kind: w.kind.Kind, Namespace: e.namespace.Value(), Name: e.name})
	return best == e
}

// Synced reports whether everything that a Sync needs has been listed. Kinds
// that the cluster does not serve are not waited for.
func (s *Store) Synced(label string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o := s.judges[label]; o != nil && o.pending {
		return false
	}
	for _, n := range s.needs[label] {
		if !n.resolved {
			return false
		}
		for _, w := range n.watches {
			if !w.synced {
				return false
			}
		}
	}
	return true
}

// Unlisted is a kind of which nothing is known yet.
type Unlisted struct {
	// Kind is the kind, and Namespace where it is not known; empty for all namespaces, or none.
	Kind      schema.GroupKind
	Namespace string
	// Refused is why the API server does not list it; nil while it is expected to.
	Refused error
}

// Holds reports whether an object is of that kind and place.
func (u Unlisted) Holds(key object.Key) bool {
	return u.Kind == schema.GroupKind{Group: key.Group, Kind: key.Kind} && (u.Namespace == "" || u.Namespace == key.Namespace)
}

// Unlisted returns what a Sync needs and has not been listed.
func (s *Store) Unlisted(label string) []Unlisted {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var unlisted []Unlisted
	own := s.judges[label]
	for kind, n := range s.needs[label] {
		if own != nil && own.pending && own.covers(kind.GroupKind()) {
			unlisted = append(unlisted, Unlisted{Kind: kind.GroupKind()}) // its objects are read again
		}
		if !n.resolved {
			u := Unlisted{Kind: kind.GroupKind()}
			if n.failure != nil && time.Since(n.failing) > refusedAfter {
				u.Refused = n.failure
			}
			unlisted = append(unlisted, u)
		}
		for _, w := range n.watches {
			if !w.synced {
				unlisted = append(unlisted, Unlisted{Kind: kind.GroupKind(), Namespace: w.namespace, Refused: w.refusal()})
			}
		}
	}
	return unlisted
}

// Failures returns why watches that a Sync needs bring nothing now.
func (s *Store) Failures(label string) []error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var failures []error
	if o := s.judges[label]; o != nil && o.failure != nil {
		failures = append(failures, o.failure)
	}
	for _, kind := range slices.SortedFunc(maps.Keys(s.needs[label]), compareKinds) {
		n := s.needs[label][kind]
		if n.failure != nil {
			failures = append(failures, n.failure)
		}
		for _, w := range n.watches {
			if err := w.err(); err != nil {
				failures = append(failures, err)
			}
		}
	}
	return failures
}

// change runs fn under the lock and tells the Syncs that it names.
func (s *Store) change(fn func(changed changes)) { s.tell(s.config.Changed, fn) }

func (s *Store) changeImages(fn func(changed changes)) { s.tell(s.config.ImagesChanged, fn) }

func (s *Store) tell(listener func(label string), fn func(changed changes)) {
	changed := changes{}
	s.locked(func() {
		fn(changed)
		maps.DeleteFunc(changed, func(label string, _ bool) bool { return s.needs[label] == nil })
		if len(changed) > 0 {
			s.signal()
		}
	})
	if listener == nil {
		return
	}
	for label := range changed {
		listener(label)
	}
}

func (s *Store) locked(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

// reduce makes a record of an object, which is only read.
func (s *Store) reduce(obj *unstructured.Unstructured) Record {
	judge, epoch := s.judgeOf(obj)
	r := reduce(obj, judge)
	r.epoch = epoch
	if s.config.Looking {
		r.Baseline, r.hasPods, r.own = s.config.Digest(obj), false, s.verdicts(obj)
	}
	return r
}

// look wakes Run.
func (s *Store) look() {
	select {
	case s.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

func kindOf(k v1alpha1.ObjectKind) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind}
}
